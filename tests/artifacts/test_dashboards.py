"""Grafana's dashboards: the files match the tables, and every panel has a description."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.dashboards import dashboard_files
from operations.dashboards.generated import BOARDS, FOLDER
from operations.dashboards.render import dashboard_json
from operations.project import ROOT
from tests.artifacts.prometheus_tools import assert_accepted
from tests.artifacts.rule_files import GENERATED, RECORDED, recorded_names
from tests.dashboard_queries import queries

FILES = {path: json.loads(text) for path, text in dashboard_files().items()}
PANELS = [
    pytest.param(panel, id=f"{path.stem}-{panel['id']}")
    for path, board in FILES.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
WORKLOAD_VARIABLE = "$workload"
RANGE = re.compile(r"\[([^\]]*)\]")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_dashboard_file_matches_its_table(path: Path) -> None:
    assert (ROOT / path).read_text() == dashboard_files()[path], "run: make documents"


def test_no_file_of_a_removed_dashboard_remains() -> None:
    assert {path.relative_to(ROOT) for path in (ROOT / FOLDER).iterdir()} == FILES.keys()


def test_the_same_tables_give_the_same_text() -> None:
    assert [dashboard_json(board) for board in BOARDS] == [*dashboard_files().values()]


def test_the_four_dashboards_have_fixed_urls() -> None:
    assert {board["uid"]: board["title"] for board in FILES.values()} == {
        "pti-overview-platform": "Overview Platform",
        "pti-services-health": "Services Health",
        "pti-business-metrics": "Business Metrics",
        "pti-infrastructure": "Infrastructure",
    }


@pytest.mark.parametrize("board", FILES.values(), ids=lambda board: board["uid"])
def test_a_dashboard_selects_its_data_source_and_links_to_the_others(board: dict[str, Any]) -> None:
    chosen = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert (chosen["datasource"]["type"], chosen["datasource"]["query"]) == ("datasource", "prometheus")
    assert [(link["type"], link["tags"]) for link in board["links"]] == [("dashboards", board["tags"])]
    uses_choice = any(
        WORKLOAD_VARIABLE in target["expr"] for panel in board["panels"] for target in panel.get("targets", [])
    )
    assert ("workload" in chosen) == uses_choice


@pytest.mark.parametrize("board", FILES.values(), ids=lambda board: board["uid"])
def test_panels_have_unique_ids_and_do_not_overlap(board: dict[str, Any]) -> None:
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    covered: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (column, row)
            for column in range(place["x"], place["x"] + place["w"])
            for row in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & covered, panel["title"]
        covered |= cells


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_has_a_description(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith("."), "a sentence"
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert all(target["legendFormat"] for target in panel["targets"])
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_uses_the_selected_data_source(panel: dict[str, Any]) -> None:
    assert {item["datasource"]["uid"] for item in [panel, *panel["targets"]]} == {"${datasource}"}


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_uses_the_rate_interval(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        windows = set(RANGE.findall(target["expr"]))
        assert windows <= {"$__rate_interval", "$__range"}, "a fixed window belongs in a recording rule"
        assert "$__range" not in windows or "increase(" in target["expr"]


@pytest.mark.parametrize("panel", PANELS)
def test_no_panel_shows_a_single_tenant(panel: dict[str, Any]) -> None:
    assert "tenant" not in json.dumps(panel).lower()


def test_every_shown_series_is_recorded() -> None:
    shown = {name for query in queries() for name in recorded_names(query.expression)}
    assert shown
    assert shown - RECORDED - GENERATED == set()


def test_every_query_in_the_files_is_listed() -> None:
    shown = [
        (board["uid"], panel["id"], target["expr"])
        for board in FILES.values()
        for panel in board["panels"]
        for target in panel.get("targets", [])
    ]
    assert [tuple(query) for query in queries()] == shown


def test_promtool_parses_every_query(tmp_path: Path) -> None:
    """The queries are converted to rules, because promtool reads only rule files."""
    chosen = [
        {"record": f"shown:query:number{number}", "expr": with_values(query.expression)}
        for number, query in enumerate(queries())
    ]
    assert "$" not in "".join(rule["expr"] for rule in chosen)
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": chosen}]}))
    assert_accepted("promtool", "check", "rules", path)


def with_values(expression: str) -> str:
    """Fill in Grafana's variables."""
    return expression.replace("$__rate_interval", "1m").replace("$__range", "6h").replace(WORKLOAD_VARIABLE, "rdv|user")

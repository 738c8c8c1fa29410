"""The alert rules: in promtool, each fires, stays silent and recovers, and each has a section in the docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
import yaml

from operations.dashboards.generated import BOARDS
from operations.project import ROOT
from tests.artifacts.prometheus_tools import assert_accepted, run
from tests.artifacts.rule_files import (
    ALERTS,
    GENERATED,
    RECORDED,
    RULE_FILES,
    TESTS,
    THRESHOLDS,
    recorded_names,
    rules_of,
)
from tests.full_run import only_in_full_runs

RUNBOOK = "https://github.com/pti-calendar/infrastructure/blob/main/docs/alerts.md"

ALWAYS_FIRING = "Watchdog"


def cases() -> Iterator[tuple[str, list[bool]]]:
    """Map each alert to its expected states in order of time, over all tests."""
    for path in sorted(TESTS.glob("*.test.yml")):
        for test in yaml.load(path.read_text(), yaml.CSafeLoader)["tests"]:
            if "alert_rule_test" not in test:
                continue
            alerts = {step["alertname"] for step in test["alert_rule_test"]}
            assert len(alerts) == 1, f"{test['name']}: a test is about one alert"
            steps = sorted(test["alert_rule_test"], key=lambda step: minutes(step["eval_time"]))
            yield alerts.pop(), [bool(step["exp_alerts"]) for step in steps]


def minutes(text: str) -> int:
    """Return the minutes in a duration such as `90m`."""
    match = re.fullmatch(r"(\d+)m", text)
    assert match, f"{text}: times are in minutes"
    return int(match[1])


CASES = [*cases()]


@pytest.mark.parametrize("path", [*RULE_FILES, THRESHOLDS], ids=lambda path: path.stem)
def test_promtool_accepts_the_rules(path: Path) -> None:
    assert_accepted("promtool", "check", "rules", "--lint=all", "--lint-fatal", path)


@only_in_full_runs
@pytest.mark.parametrize("path", sorted(TESTS.glob("*.test.yml")), ids=lambda path: path.name.partition(".")[0])
def test_the_alerts_fire_and_recover(path: Path) -> None:
    assert_accepted("promtool", "test", "rules", path)


def test_a_wrong_expectation_fails(tmp_path: Path) -> None:
    wrong = yaml.safe_load((TESTS / "certificates.test.yml").read_text())
    wrong["rule_files"] = [str((TESTS / name).resolve()) for name in wrong["rule_files"]]
    for test in wrong["tests"]:
        for step in test["alert_rule_test"]:
            step["exp_alerts"] = []
    (tmp_path / "wrong.yml").write_text(yaml.safe_dump(wrong))
    outcome = run("promtool", "test", "rules", tmp_path / "wrong.yml")
    assert outcome.returncode != 0
    assert "CertificateExpired" in outcome.stdout + outcome.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_test_that_fires_and_recovers(alert: str) -> None:
    fires = [steps for name, steps in CASES if name == alert and any(steps)]
    recovers = [not steps[0] and not steps[-1] for steps in fires]
    if alert == ALWAYS_FIRING:
        assert [steps[1:] for steps in fires] == [[True, True]]
    else:
        assert recovers
        assert all(recovers)


@pytest.mark.parametrize("alert", [alert for alert in ALERTS if alert != ALWAYS_FIRING])
def test_each_alert_has_a_test_that_stays_silent(alert: str) -> None:
    assert [steps for name, steps in CASES if name == alert and not any(steps)]


def test_every_rule_test_belongs_to_an_existing_alert() -> None:
    assert {alert for alert, _ in CASES} == ALERTS.keys()


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_the_required_annotations(alert: str) -> None:
    rule = ALERTS[alert]
    assert re.fullmatch(r"\d+[mh]", rule["for"]), "it waits"
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url", "dashboard"}
    assert all(rule["annotations"].values())


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_links_to_its_section(alert: str) -> None:
    page, _, anchor = ALERTS[alert]["annotations"]["runbook_url"].partition("#")
    assert page == RUNBOOK
    assert anchor == alert.lower()
    assert anchor in {heading.lower() for heading in headings()}


def test_no_section_describes_a_removed_alert() -> None:
    assert set(headings()) == ALERTS.keys()


def headings() -> list[str]:
    """Return the docs' sections about alerts."""
    return re.findall(r"^### (\w+)$", (ROOT / "docs/alerts.md").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_links_to_an_existing_panel(alert: str) -> None:
    address = urlparse(ALERTS[alert]["annotations"]["dashboard"])
    board = next(board for board in BOARDS if address.path == f"/d/{board.uid}")
    parameters = parse_qs(address.query)
    assert int(parameters.pop("viewPanel")[0]) in {panel.id for panel in board.panels}
    assert parameters.keys() <= ({"var-workload"} if board.workloads else set())


def test_recorded_names_are_level_metric_operation() -> None:
    assert {name for name in RECORDED if not re.fullmatch(r"[a-z]+:[a-z_]+:[a-z0-9_]+", name)} == set()


def test_every_recorded_series_that_is_used_is_recorded() -> None:
    rules = [rule for path in RULE_FILES for rule in rules_of(path)]
    read = {name for rule in rules for name in recorded_names(rule["expr"])}
    assert read - RECORDED - GENERATED == set()
    assert read >= GENERATED, "a threshold that nothing reads"

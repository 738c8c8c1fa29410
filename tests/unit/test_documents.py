"""The generated documents match the code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from operations.documents import diagram, generated
from operations.project import ROOT
from settings.credentials import CREDENTIALS
from tests.unit.kubernetes_recording import scheduled


@cache
def documents() -> Mapping[Path, str]:
    """Return every generated document as the code generates it now."""
    return generated()


def test_every_generated_document_is_up_to_date() -> None:
    outdated = [str(path) for path, text in documents().items() if (ROOT / path).read_text() != text]
    assert outdated == [], "run: make documents"


def test_the_stack_file_schema_takes_secrets_only_encrypted() -> None:
    properties = json.loads(documents()[Path("settings/stack.schema.json")])["properties"]["config"]["properties"]
    secrets = [properties[f"pti-calendar:{credential.key}"] for credential in CREDENTIALS]
    assert [schema["required"] for schema in secrets] == [["secure"]] * len(CREDENTIALS)


def documented_keys(prefix: str) -> set[str]:
    """Return the keys in the configuration reference that start with a prefix."""
    page = documents()[Path("docs/configuration.md")]
    return {key for key in re.findall(r"^\| `([^`]+)`", page, flags=re.MULTILINE) if key.startswith(prefix)}


def test_overrides_of_one_application_are_documented_once() -> None:
    assert documented_keys("services.overrides.") >= {
        "services.overrides.<name>.replicas",
        "services.overrides.<name>.publicPaths",
    }
    assert documented_keys("frontends.overrides.") >= {
        "frontends.overrides.<name>.scaling",
        "frontends.overrides.<name>.scaling.maxReplicas",
    }
    assert {
        key.split(".")[2] for key in documented_keys("services.overrides.") | documented_keys("frontends.overrides.")
    } == {"<name>"}


def test_an_optional_section_is_documented_as_off() -> None:
    page = documents()[Path("docs/configuration.md")]
    (row,) = [line for line in page.splitlines() if line.startswith("| `services.scaling` |")]
    assert row.endswith("| none |")


def drawn_lines(picture: str) -> set[str]:
    """Return the arrows in a diagram."""
    return {line.strip() for line in picture.splitlines() if "-->" in line or "-." in line}


def test_the_detailed_diagram_has_every_connection_and_order() -> None:
    picture = drawn_lines(diagram.detailed_diagram(diagram.record_workloads(diagram.DEV_STACK)))
    assert picture >= {
        "developer -- 5432 --> postgres",
        "databases --> postgres",
        "postgres -. ready .-> databases",
        "kafka-ui --> kafka",
    }
    assert {arrow for arrow in picture if "nginx" in arrow or "kong" in arrow} == set()


def test_a_scheduled_task_is_drawn_with_its_schedule() -> None:
    picture = diagram.detailed_diagram([("Backups", scheduled(schedule="30 2 * * *"))])
    assert 'backup{{"backup<br/>backup:1.0<br/>30 2 * * *"}}' in picture


def test_the_overview_diagram_draws_a_shared_connection_once() -> None:
    picture = drawn_lines(diagram.overview_diagram(diagram.record_workloads(diagram.WHOLE_PLATFORM)))
    assert picture == {
        "users -- 80, 443 --> nginx",
        "nginx --> kong",
        "nginx --> Frontend",
        "kong --> Microservice",
        "kong --> redis",
        "Microservice --> postgres",
        "Microservice --> redis",
        "Microservice --> kafka",
        "payment --> internet",
        "notification --> internet",
        "databases --> postgres",
    }


def test_the_architecture_page_has_both_pictures() -> None:
    assert documents()[Path("docs/architecture.md")].count("```mermaid") == 2


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda page: page.name)
def test_every_link_to_a_file_resolves(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    named = {name for page in pages for name in re.findall(r"`make ([a-z-]+)", page.read_text())}
    assert named
    assert named <= targets


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub generates them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda page: page.name)
def test_every_link_to_a_heading_resolves(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)", page.read_text())
    targets = [((page.parent / file) if file else page, anchor) for file, anchor in links]
    assert [anchor for target, anchor in targets if anchor not in anchors(target)] == []


def test_every_file_that_the_page_of_changes_names_exists() -> None:
    files = re.findall(r"`((?:[\w.-]+/)+[\w.*-]*)`", (ROOT / "docs/where-to-change.md").read_text())
    assert files
    assert [name for name in files if not [*ROOT.glob(name)]] == []

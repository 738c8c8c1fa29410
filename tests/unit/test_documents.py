"""The generated documents say what the code says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from operations.documents import generated
from operations.project import ROOT
from settings.credentials import CREDENTIALS

GENERATED = generated()


@pytest.mark.parametrize("path", GENERATED, ids=str)
def test_a_generated_document_is_up_to_date(path: Path) -> None:
    assert (ROOT / path).read_text() == GENERATED[path], "run: make documents"


def test_the_stack_file_schema_knows_every_key_of_the_dev_stack() -> None:
    schema = json.loads(GENERATED[Path("settings/stack.schema.json")])["properties"]["config"]
    keys = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    own = {key for key in keys if key.startswith("pti-calendar:")}
    assert own
    assert own <= schema["properties"].keys()


def test_the_stack_file_schema_takes_secrets_only_encrypted() -> None:
    properties = json.loads(GENERATED[Path("settings/stack.schema.json")])["properties"]["config"]["properties"]
    secrets = [properties[f"pti-calendar:{credential.key}"] for credential in CREDENTIALS]
    assert [schema["required"] for schema in secrets] == [["secure"]] * len(CREDENTIALS)


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda page: page.name)
def test_every_link_between_the_pages_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    named = {name for page in pages for name in re.findall(r"`make ([a-z]+)", page.read_text())}
    assert named
    assert named <= targets

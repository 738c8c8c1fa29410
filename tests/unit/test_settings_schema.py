"""The JSON Schema with which an editor completes `Pulumi.<stack>.yaml`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from operations.documents.configuration import stack_file_schema
from settings import NAMESPACE, Settings, parse
from settings.catalog import FRONTENDS, SERVICES
from settings.credentials import supplied_credentials
from settings.load import SECRET_KEYS, SECTIONS
from settings.models import json_schema
from tests.unit.conftest import stack_file
from tests.unit.paths import ROOT
from tests.unit.platform_recording import pulumi_config

SCHEMA = json_schema()
OBJECTS = {"Settings": SCHEMA, **SCHEMA["$defs"]}


def resolve_reference(described: dict[str, Any]) -> dict[str, Any]:
    """Return the section that a key refers to, or nothing."""
    name = described.get("$ref", "").rpartition("/")[2]
    return OBJECTS[name] if name else {}


def leaves(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every property that isn't a section, by its dotted key."""
    for key, described in schema["properties"].items():
        if section := resolve_reference(described):
            yield from leaves(section, f"{path}{key}.")
        else:
            yield f"{path}{key}", described


def test_the_schema_has_the_keys_of_the_configuration() -> None:
    assert SCHEMA["properties"].keys() == SECTIONS.keys()


@pytest.mark.parametrize("name", OBJECTS)
def test_a_section_refuses_unknown_keys(name: str) -> None:
    assert OBJECTS[name]["additionalProperties"] is False


@pytest.mark.parametrize("name", OBJECTS)
def test_a_section_requires_nothing(name: str) -> None:
    assert OBJECTS[name].get("required", []) == []


@pytest.mark.parametrize("name", OBJECTS)
def test_every_key_is_described_in_a_sentence(name: str) -> None:
    properties = OBJECTS[name]["properties"]
    # If a section and its key have the same description, only the section contains it.
    descriptions = {
        key: (resolve_reference(described) | described).get("description") for key, described in properties.items()
    }
    assert [key for key, text in descriptions.items() if not (text or "").endswith(".")] == []


@pytest.mark.parametrize("name", OBJECTS)
def test_every_key_is_in_camel_case(name: str) -> None:
    assert [key for key in OBJECTS[name]["properties"] if not (key.isalnum() and key[0].islower())] == []


def test_every_default_of_the_schema_is_the_models_default() -> None:
    defaults = json.loads(Settings().model_dump_json(by_alias=True))

    def value(path: str) -> Any:
        place = defaults
        for part in path.split("."):
            place = place[part]
        return place

    stated = {path: described["default"] for path, described in leaves(SCHEMA)}
    assert stated == {path: value(path) for path in stated}
    assert len(stated) >= 25


STACKS = sorted(path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml"))
STORED_SCHEMA = json.loads((ROOT / "settings" / "stack.schema.json").read_text())


def test_the_stored_schema_is_up_to_date() -> None:
    assert stack_file_schema() == STORED_SCHEMA, "make documents rewrites it"


def test_the_stored_schema_knows_every_section_and_every_secret() -> None:
    keys = STORED_SCHEMA["properties"]["config"]["properties"]
    assert keys.keys() == {f"{NAMESPACE}:{key}" for key in SECTIONS.keys() | SECRET_KEYS}
    secrets = {key for key in SECRET_KEYS if keys[f"{NAMESPACE}:{key}"].get("required") == ["secure"]}
    assert secrets == SECRET_KEYS


@pytest.mark.parametrize("stack", STACKS)
def test_our_stack_files_match_the_stored_schema(stack: str) -> None:
    keys = {key for key in stack_file(stack) if key.startswith(f"{NAMESPACE}:")}
    assert keys
    assert keys <= STORED_SCHEMA["properties"]["config"]["properties"].keys()


@pytest.mark.parametrize("stack", STACKS)
def test_our_stack_files_are_valid_configurations(stack: str) -> None:
    parse(pulumi_config(stack_file(stack)), with_secrets=False)


def test_the_dev_stack_has_the_tools_and_requires_no_secret() -> None:
    configured = parse(pulumi_config(stack_file("dev")))
    assert configured.dev_tools.enabled
    assert supplied_credentials(configured) == ()


def test_production_runs_everything_and_only_requires_third_party_secrets() -> None:
    configured = parse(pulumi_config(stack_file("prod")), with_secrets=False)
    assert (configured.services.deployed, configured.frontends.deployed) == (SERVICES, FRONTENDS)
    required = {one.key for one in supplied_credentials(configured)}
    assert required == {secret.key for service in SERVICES for secret in service.secrets} | {"alertWebhookUrl"}

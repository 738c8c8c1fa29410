"""Values of a type other than their key's, as `pulumi config set --path` and YAML produce them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from operations.documents.configuration import stack_file_schema
from settings import SettingsError, parse
from settings.load import allowed_values
from settings.scalars import PATTERNS
from settings.stores.redis import RedisSettings
from tests.unit.mistakes import Entry, entries, parsed, refusal
from tests.unit.stored_values import stored


def read(source: str) -> list[Entry]:
    """Return the mistakes of a stack's file that Pulumi has read with YAML's rules."""
    raw = {key: json.dumps(value) for key, value in yaml.safe_load(source)["config"].items()}
    with pytest.raises(SettingsError) as refused:
        parse(raw, source=source)
    return entries(str(refused.value))


@pytest.mark.parametrize("typed", ["4", "-4", "true", "false", "0.10", "0777", "1e3", "on", "True", "1_000", "null"])
def test_an_environment_variable_has_the_text_that_was_typed(typed: str) -> None:
    configured = parsed({"services": {"environment": {"NAME": stored(typed)}}})
    assert configured.services.environment == {"NAME": typed}


def test_an_annotation_and_a_migration_command_may_contain_numbers_and_booleans() -> None:
    annotations = {"nginx.ingress.kubernetes.io/ssl-redirect": True, "nginx.ingress.kubernetes.io/limit-rps": 5}
    cluster = {"kubeconfig": "~/.kube/config", "context": "production"}
    configured = parsed(
        {
            "backend": {"kind": "kubernetes"},
            "kubernetes": cluster,
            "gateway": {"enabled": True, "domain": "example.org", "tls": {"source": "cert-manager", "issuer": "ca"}},
            "edge": {"kind": "ingress", "ingress": {"annotations": annotations}},
            "services": {"migrationCommand": ["migrate", "--steps", 3]},
        }
    )
    assert [*configured.edge.ingress.annotations.values()] == ["true", "5"]
    assert configured.services.migration_command == ("migrate", "--steps", "3")


@pytest.mark.parametrize("typed", ["1e3", "0777", "1_000", ".5", "+0.5", " 0.5", "0x1", "nan", "", "0,5"])
def test_text_that_is_no_plain_decimal_is_refused_for_a_number(typed: str) -> None:
    (found,) = entries(refusal({"redis": {"cpuRequest": typed}}))
    assert (found.key, found.problem) == ("redis.cpuRequest", f"must be {allowed_values(RedisSettings, 'cpuRequest')}")


@pytest.mark.parametrize("typed", ["on", "yes", "True", "1", ""])
def test_words_other_than_true_and_false_are_refused_for_a_boolean(typed: str) -> None:
    (found,) = entries(refusal({"monitoring": {"enabled": typed}}))
    assert (found.key, found.problem) == ("monitoring.enabled", "must be true or false")


def test_the_limits_apply_to_a_number_given_as_text() -> None:
    (found,) = entries(refusal({"redis": {"cpuRequest": "64.5"}}))
    assert (found.key, found.value) == ("redis.cpuRequest", "64.5")


@pytest.mark.parametrize(
    ("spelled", "value"), [("0777", "511"), ("on", "true"), ("0x10", "16"), ("1_000", "1000"), ("True", "true")]
)
def test_text_that_yaml_reads_as_something_else_needs_quotes(spelled: str, value: str) -> None:
    (found,) = read(f"config:\n  pti-calendar:services:\n    environment:\n      NAME: {spelled}\n")
    assert (found.key, found.value) == ("services.environment.NAME", spelled)
    assert found.problem == f"is spelled {spelled} in the file, which YAML reads as {value}"
    assert f"--type string 'pti-calendar:services.environment.NAME' {spelled}" in (found.fix or "")


def test_a_number_with_a_leading_zero_is_refused() -> None:
    (found,) = read("config:\n  pti-calendar:postgres:\n    port: 07777\n")
    assert (found.key, found.value) == ("postgres.port", "07777")


@pytest.mark.parametrize(
    "source",
    [
        "config:\n  pti-calendar:services:\n    environment: {A: 4, B: true, C: '0777', D: text}\n",
        "config:\n  pti-calendar:monitoring:\n    enabled: True\n",
        "config:\n  pti-calendar:redis:\n    cpuRequest: 0.50\n",
    ],
)
def test_unambiguous_spellings_are_accepted(source: str) -> None:
    raw = {key: json.dumps(value) for key, value in yaml.safe_load(source)["config"].items()}
    parse(raw, source=source)


def test_the_commands_in_the_messages_name_the_stack() -> None:
    with pytest.raises(SettingsError) as refused:
        parse({"pti-calendar:redis": '{"external": {"host": "redis.example.org"}}'}, stack="blue")
    assert "pulumi config rm -s blue --path 'pti-calendar:redis.external'" in str(refused.value)


def scalars(schema: Any) -> list[dict[str, Any]]:
    """Return each part of the schema that describes a number or a boolean, with the alternatives beside it."""
    if isinstance(schema, list):
        return [found for one in schema for found in scalars(one)]
    if not isinstance(schema, dict):
        return []
    alternatives = [one for one in schema.get("anyOf", []) if one.get("type") in PATTERNS]
    return [*([schema] if alternatives else []), *(found for one in schema.values() for found in scalars(one))]


def test_the_schema_for_editors_accepts_what_pulumi_stores() -> None:
    found = scalars(stack_file_schema())
    assert len(found) > 60
    for one in found:
        kind, text = one["anyOf"]
        example = {"boolean": "true", "integer": "4", "number": "0.1"}[kind["type"]]
        assert re.search(text["pattern"], example)
        assert not re.search(text["pattern"], "0777")
    environment = stack_file_schema()["$defs"]["ServicesSettings"]["properties"]["environment"]
    assert environment["additionalProperties"] == {"type": ["string", "integer", "boolean"]}

"""The stack outputs that other teams' programs read."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest

from contract import CONTRACT_VERSION, ContractError, StackOutputs
from contract.outputs import (
    CredentialsOutput,
    DatabaseOutput,
    GatewayOutput,
    KafkaOutput,
    MonitoringOutput,
    PostgresOutput,
    RedisOutput,
    ToolsOutput,
)

OUTPUTS: StackOutputs[str] = StackOutputs(
    contract_version=1,
    postgres=PostgresOutput(
        host="127.0.0.1",
        port=5432,
        ssl_mode="disable",
        admin_role="postgres",
        backup_role="pti_backup",
        databases={
            "user": DatabaseOutput(
                name="pti_user", app_role="pti_user_app", migrator_role="pti_user_migrator", pool_max=5
            ),
            "audit": DatabaseOutput(
                name="pti_audit", app_role="pti_audit_app", migrator_role="pti_audit_migrator", pool_max=7
            ),
        },
    ),
    redis=RedisOutput(host="127.0.0.1", port=6379, tls=False),
    kafka=KafkaOutput(bootstrap_servers="127.0.0.1:9092", security_protocol="PLAINTEXT", username=None),
    tools=ToolsOutput(pg_admin="http://127.0.0.1:5050", kafka_ui=None, redis_commander=None),
    gateway=GatewayOutput(
        api="https://api.example.com",
        services={"user": "https://api.example.com/api/user"},
        frontends={"client-pwa": "https://app.example.com"},
    ),
    monitoring=MonitoringOutput(grafana="http://127.0.0.1:3030", prometheus="http://127.0.0.1:9090", alertmanager=None),
    credentials=CredentialsOutput(
        postgres={"postgres": "one", "pti_backup": "two"},
        redis=None,
        kafka=None,
        jwt_secret="three",
        pg_admin="four",
        grafana="six",
        third_parties={"STRIPE_SECRET_KEY": "five"},
    ),
)


@pytest.fixture
def exported_outputs() -> dict[str, Any]:
    """The outputs as stored in the state."""
    read: dict[str, Any] = json.loads(json.dumps(OUTPUTS.as_mapping()))
    return read


def with_value(outputs: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return the outputs with one value replaced, or removed if the value is `...`."""
    result = copy.deepcopy(dict(outputs))
    *sections, name = path.split(".")
    place = result
    for section in sections:
        place = place[section]
    if value is ...:
        del place[name]
    else:
        place[name] = value
    return result


def test_the_outputs_are_plain_values_under_their_names() -> None:
    assert OUTPUTS.as_mapping() == {
        "contract_version": 1,
        "postgres": {
            "host": "127.0.0.1",
            "port": 5432,
            "ssl_mode": "disable",
            "admin_role": "postgres",
            "backup_role": "pti_backup",
            "databases": {
                "user": {
                    "name": "pti_user",
                    "app_role": "pti_user_app",
                    "migrator_role": "pti_user_migrator",
                    "pool_max": 5,
                },
                "audit": {
                    "name": "pti_audit",
                    "app_role": "pti_audit_app",
                    "migrator_role": "pti_audit_migrator",
                    "pool_max": 7,
                },
            },
        },
        "redis": {"host": "127.0.0.1", "port": 6379, "tls": False},
        "kafka": {"bootstrap_servers": "127.0.0.1:9092", "security_protocol": "PLAINTEXT", "username": None},
        "tools": {"pg_admin": "http://127.0.0.1:5050", "kafka_ui": None, "redis_commander": None},
        "gateway": {
            "api": "https://api.example.com",
            "services": {"user": "https://api.example.com/api/user"},
            "frontends": {"client-pwa": "https://app.example.com"},
        },
        "monitoring": {
            "grafana": "http://127.0.0.1:3030",
            "prometheus": "http://127.0.0.1:9090",
            "alertmanager": None,
        },
        "credentials": {
            "postgres": {"postgres": "one", "pti_backup": "two"},
            "redis": None,
            "kafka": None,
            "jwt_secret": "three",
            "pg_admin": "four",
            "grafana": "six",
            "third_parties": {"STRIPE_SECRET_KEY": "five"},
        },
    }


def test_parsed_outputs_equal_the_exported_ones(exported_outputs: dict[str, Any]) -> None:
    assert StackOutputs.parse(exported_outputs) == OUTPUTS


def test_a_single_output_can_be_parsed(exported_outputs: dict[str, Any]) -> None:
    assert PostgresOutput.parse(exported_outputs["postgres"]) == OUTPUTS.postgres


def test_floating_point_numbers_of_a_state_become_integers(exported_outputs: dict[str, Any]) -> None:
    floating = with_value(with_value(exported_outputs, "contract_version", 1.0), "postgres.port", 5432.0)
    outputs = StackOutputs.parse(floating)
    assert outputs == OUTPUTS
    assert (type(outputs.contract_version), type(outputs.postgres.port)) == (int, int)


@pytest.mark.parametrize("path", ["something", "postgres.something", "postgres.databases.user.something"])
def test_unknown_outputs_of_a_newer_stack_are_ignored(exported_outputs: dict[str, Any], path: str) -> None:
    assert StackOutputs.parse(with_value(exported_outputs, path, {"new": True})) == OUTPUTS


@pytest.mark.parametrize(
    "path",
    [
        "tools.pg_admin",
        "gateway.api",
        "kafka.username",
        "credentials.redis",
        "credentials.kafka",
        "credentials.pg_admin",
        "credentials.grafana",
        "monitoring.prometheus",
    ],
)
def test_an_output_that_may_be_null_may_be_absent(exported_outputs: dict[str, Any], path: str) -> None:
    section, name = path.split(".")
    assert getattr(getattr(StackOutputs.parse(with_value(exported_outputs, path, ...)), section), name) is None


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("postgres", ..., "output StackOutputs.postgres is missing; expected a mapping"),
        ("credentials", None, "output StackOutputs.credentials is missing; expected a mapping"),
        ("postgres.host", ..., "output StackOutputs.postgres.host is missing; expected text"),
        ("postgres.port", None, "output StackOutputs.postgres.port is missing; expected a whole number"),
        ("postgres.databases", ..., "output StackOutputs.postgres.databases is missing; expected a mapping"),
        (
            "postgres.databases.user.app_role",
            ...,
            "output StackOutputs.postgres.databases.user.app_role is missing; expected text",
        ),
        ("credentials.jwt_secret", ..., "output StackOutputs.credentials.jwt_secret is missing; expected text"),
        ("redis", "127.0.0.1", "output StackOutputs.redis is a value of type str; expected a mapping"),
        ("redis.port", "6379", "output StackOutputs.redis.port is a value of type str; expected a whole number"),
        ("redis.port", 6379.5, "output StackOutputs.redis.port is a value of type float; expected a whole number"),
        ("redis.port", True, "output StackOutputs.redis.port is a value of type bool; expected a whole number"),
        ("redis.tls", ..., "output StackOutputs.redis.tls is missing; expected true or false"),
        ("redis.tls", "true", "output StackOutputs.redis.tls is a value of type str; expected true or false"),
        ("redis.tls", 1, "output StackOutputs.redis.tls is a value of type int; expected true or false"),
        ("gateway", ..., "output StackOutputs.gateway is missing; expected a mapping"),
        (
            "gateway.services.user",
            4000,
            "output StackOutputs.gateway.services.user is a value of type int; expected text",
        ),
        (
            "kafka.bootstrap_servers",
            ["127.0.0.1:9092"],
            "output StackOutputs.kafka.bootstrap_servers is a value of type list; expected text",
        ),
        ("tools.kafka_ui", 8080, "output StackOutputs.tools.kafka_ui is a value of type int; expected text"),
        (
            "credentials.postgres.postgres",
            5,
            "output StackOutputs.credentials.postgres.postgres is a value of type int; expected text",
        ),
    ],
)
def test_an_invalid_output_is_reported(exported_outputs: dict[str, Any], path: str, value: Any, complaint: str) -> None:
    with pytest.raises(ContractError) as refused:
        StackOutputs.parse(with_value(exported_outputs, path, value))
    assert str(refused.value) == complaint


def test_no_error_message_shows_a_secret(exported_outputs: dict[str, Any]) -> None:
    with pytest.raises(ContractError) as refused:
        StackOutputs.parse(with_value(exported_outputs, "credentials.postgres", ["hunter2"]))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("version", "shown"), [(2, "are version 2"), (0, "are version 0"), ("1", "are version 1"), (..., "name no version")]
)
def test_another_contract_version_is_refused(exported_outputs: dict[str, Any], version: Any, shown: str) -> None:
    with pytest.raises(ContractError) as refused:
        StackOutputs.parse(with_value(exported_outputs, "contract_version", version))
    assert str(refused.value) == (
        f"the stack's outputs {shown} of the contract and this code reads version {CONTRACT_VERSION}: "
        "use the contract folder of the commit from which the stack was deployed"
    )


def test_exactly_the_credentials_are_secret() -> None:
    assert StackOutputs.secret_names() == {"credentials"}


@pytest.mark.parametrize(
    "record",
    [
        StackOutputs,
        PostgresOutput,
        DatabaseOutput,
        RedisOutput,
        KafkaOutput,
        ToolsOutput,
        GatewayOutput,
        CredentialsOutput,
    ],
)
def test_every_output_is_described(record: Any) -> None:
    descriptions = {part.name: part.metadata["description"] for part in dataclasses.fields(record)}
    assert [name for name, text in descriptions.items() if not text.endswith(".")] == []


def test_parsed_outputs_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        OUTPUTS.contract_version = 2  # type: ignore[misc]

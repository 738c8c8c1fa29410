"""No two parts of a stack may bind the same host port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from settings.ports import published_ports
from tests.unit.mistakes import (
    NOT_SET,
    InvalidConfiguration,
    assert_refused,
    default,
    expected_entry,
    parsed,
    refusal,
    refused_keys,
)


def port_clash(
    description: str, configuration: Mapping[str, Any], key: str, given: str, port: int, taken_by: str
) -> InvalidConfiguration:
    """Return the expected entry for two settings with the same host port."""
    own = {
        "redis.port": default("6379", "RedisSettings"),
        "kafka.port": default("9092", "KafkaSettings"),
        "kafka.zookeeper.port": default("2181", "ZooKeeperSettings"),
        "devTools.pgAdmin.port": default("5050", "PgAdminSettings"),
        "devTools.kafkaUi.port": default("8080", "KafkaUiSettings"),
        "devTools.redisCommander.port": default("8081", "RedisCommanderSettings"),
    }[key]
    problem, fix = f"is {port}, which {taken_by} already uses", f"'pti-calendar:{key}' OTHER_PORT"
    return InvalidConfiguration(
        description, configuration, expected_entry(key, value=given, problem=problem, fix=fix, default=own)
    )


PORTS = [
    port_clash("Redis on PostgreSQL's port", {"redis": '{"port": 5432}'}, "redis.port", "5432", 5432, "postgres.port"),
    port_clash("PostgreSQL on Redis's", {"postgres": '{"port": 6379}'}, "redis.port", NOT_SET, 6379, "postgres.port"),
    port_clash("Kafka on PostgreSQL's", {"kafka": '{"port": 5432}'}, "kafka.port", "5432", 5432, "postgres.port"),
    port_clash("Kafka on Redis's", {"kafka": '{"port": 6379}'}, "kafka.port", "6379", 6379, "redis.port"),
    port_clash(
        "ZooKeeper on Kafka's",
        {"kafka": '{"zookeeper": {"port": 9092}}'},
        "kafka.zookeeper.port",
        "9092",
        9092,
        "kafka.port",
    ),
    port_clash(
        "a tool on a store's",
        {"devTools": '{"enabled": true, "pgAdmin": {"port": 5432}}'},
        "devTools.pgAdmin.port",
        "5432",
        5432,
        "postgres.port",
    ),
    port_clash(
        "a tool on ZooKeeper's",
        {"devTools": '{"enabled": true, "kafkaUi": {"port": 2181}}'},
        "devTools.kafkaUi.port",
        "2181",
        2181,
        "kafka.zookeeper.port",
    ),
    port_clash(
        "a store on a tool's",
        {"kafka": '{"port": 8081}', "devTools": '{"enabled": true}'},
        "devTools.redisCommander.port",
        NOT_SET,
        8081,
        "kafka.port",
    ),
    port_clash(
        "a tool on another tool's",
        {"devTools": '{"enabled": true, "kafkaUi": {"port": 5050}}'},
        "devTools.kafkaUi.port",
        "5050",
        5050,
        "devTools.pgAdmin.port",
    ),
]

GATEWAY_PORTS = {
    "edge.nginx.httpPort": 80,
    "edge.nginx.httpsPort": 443,
    "gateway.kong.proxyPort": 8000,
    "gateway.kong.tlsPort": 8443,
    "gateway.kong.adminPort": 8001,
}

INVALID_CONFIGURATIONS = PORTS


@pytest.mark.parametrize("invalid", INVALID_CONFIGURATIONS, ids=lambda invalid: invalid.description)
def test_one_mistake_gets_one_entry(invalid: InvalidConfiguration) -> None:
    invalid.check()


def test_all_port_conflicts_are_reported_together() -> None:
    message = refusal({"redis": '{"port": 5432}', "kafka": '{"port": 2181}'})
    assert message.startswith("2 mistakes")


def test_a_disabled_tool_uses_no_port() -> None:
    configured = parsed({"devTools": '{"enabled": false, "kafkaUi": {"port": 5432}}'})
    assert "devTools.kafkaUi.port" not in dict(published_ports(configured))


def test_kafka_without_zookeeper_frees_its_port() -> None:
    assert dict(published_ports(parsed({"kafka": '{"mode": "kraft", "port": 2181}'})))["kafka.port"] == 2181


def test_an_enabled_gateway_binds_its_ports() -> None:
    stacks = [{"credentials": "well-known", "gateway": {"enabled": on}} for on in (False, True)]
    disabled, enabled = (dict(published_ports(parsed(stack))) for stack in stacks)
    assert enabled == {**disabled, **GATEWAY_PORTS}


def test_a_disabled_admin_api_uses_no_port() -> None:
    stack = {"credentials": "generated", "gateway": {"enabled": True}}
    assert "gateway.kong.adminPort" not in dict(published_ports(parsed(stack)))


@pytest.mark.parametrize("key", GATEWAY_PORTS)
def test_a_store_on_a_port_of_the_gateway_is_refused(key: str) -> None:
    stack = {"credentials": "well-known", "gateway": {"enabled": True}, "redis": {"port": GATEWAY_PORTS[key]}}
    assert_refused(refused_keys(stack), {key: f"is {GATEWAY_PORTS[key]}, which redis.port already uses"})


def test_a_full_docker_stack_has_no_port_conflict() -> None:
    stack = {"credentials": "well-known", "gateway": {"enabled": True}, "devTools": {"enabled": True}}
    ports = dict(published_ports(parsed(stack)))
    assert len({*ports.values()}) == len(ports) == 12

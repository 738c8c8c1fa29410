"""Stores that the stack deploys, that an operator manages, or that are external: which settings apply in each mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from settings.ports import published_ports
from tests.unit.mistakes import Rule, assert_refused, parsed, refused_keys

REMOVE_FIX = "pulumi config rm"
MANAGED_SERVER_PROBLEM = ("has no effect in the mode 'external': the server is managed elsewhere", REMOVE_FIX)
HOST_REQUIRED = ("is required with the mode 'external'", "HOST")
BROKERS_REQUIRED = ("is required with the mode 'external'", "HOST:PORT")
MODES: list[tuple[str, dict[str, Any], dict[str, Rule]]] = [
    (
        "a managed PostgreSQL without a host",
        {"postgres": {"mode": "external"}},
        {"postgres.external.host": HOST_REQUIRED},
    ),
    ("a managed Redis without a host", {"redis": {"mode": "external"}}, {"redis.external.host": HOST_REQUIRED}),
    (
        "a managed Kafka without brokers",
        {"kafka": {"mode": "external"}},
        {"kafka.external.bootstrapServers": BROKERS_REQUIRED},
    ),
    (
        "a broker without a port",
        {"kafka": {"mode": "external", "external": {"bootstrapServers": ["kafka.example.com"]}}},
        {"kafka.external.bootstrapServers": "a list of strings such as ['kafka-1.example.com:9092']"},
    ),
    (
        "SASL without a user",
        {"kafka": {"mode": "external", "external": {"bootstrapServers": ["k:1"], "securityProtocol": "SASL_SSL"}}},
        {"kafka.external.username": ("is required with securityProtocol 'SASL_SSL'", "USER")},
    ),
    (
        "a user without SASL",
        {"kafka": {"mode": "external", "external": {"bootstrapServers": ["k:1"], "username": "me"}}},
        {"kafka.external.username": ("has no effect with securityProtocol 'SSL'", REMOVE_FIX)},
    ),
    (
        "a managed PostgreSQL that isn't used",
        {"postgres": {"external": {"host": "db"}}},
        {"postgres.external": ("has no effect in the mode 'single'", REMOVE_FIX, "set mode to 'external'")},
    ),
    (
        "an operator's PostgreSQL that isn't used",
        {"postgres": {"cloudnativepg": {"instances": 3}}},
        {"postgres.cloudnativepg": ("has no effect in the mode 'single'", REMOVE_FIX, "set mode to 'cloudnativepg'")},
    ),
    (
        "a managed Redis that isn't used",
        {"redis": {"external": {"host": "redis"}}},
        {"redis.external": ("has no effect in the mode 'standalone'", REMOVE_FIX, "set mode to 'external'")},
    ),
    (
        "a managed Kafka that isn't used",
        {"kafka": {"mode": "kraft", "external": {"bootstrapServers": ["k:1"]}}},
        {"kafka.external": ("has no effect in the mode 'kraft'", REMOVE_FIX, "set mode to 'external'")},
    ),
    (
        "sizes of a managed PostgreSQL",
        {"postgres": {"mode": "external", "external": {"host": "db"}, "memoryMib": 1024, "port": 6432}},
        {"postgres.port": MANAGED_SERVER_PROBLEM, "postgres.memoryMib": MANAGED_SERVER_PROBLEM},
    ),
    (
        "sizes of a managed Redis",
        {"redis": {"mode": "external", "external": {"host": "redis"}, "maxMemoryMib": 512, "image": "redis:8"}},
        {"redis.image": MANAGED_SERVER_PROBLEM, "redis.maxMemoryMib": MANAGED_SERVER_PROBLEM},
    ),
    (
        "sizes of a managed Kafka",
        {"kafka": {"mode": "external", "external": {"bootstrapServers": ["k:1"]}, "heapMib": 512, "storageGib": 9}},
        {"kafka.heapMib": MANAGED_SERVER_PROBLEM, "kafka.storageGib": MANAGED_SERVER_PROBLEM},
    ),
    (
        "several brokers with ZooKeeper",
        {"kafka": {"brokers": 3}},
        {"kafka.brokers": ("must be 1 in the mode 'zookeeper'", "'kraft'")},
    ),
    ("an even number of brokers", {"kafka": {"mode": "kraft", "brokers": 2}}, {"kafka.brokers": "one of 1, 3, 5"}),
    (
        "an address range with bits beyond its mask",
        {"redis": {"mode": "external", "external": {"host": "redis", "cidrs": ["10.0.0.1/8"]}}},
        {"redis.external.cidrs": "address ranges such as '10.0.0.0/16'"},
    ),
    (
        "several mistakes in one store",
        {"kafka": {"mode": "external", "brokers": 3, "zookeeper": {}, "port": 1}},
        {
            "kafka.zookeeper": ("has no effect in the mode 'external', which runs no ZooKeeper", REMOVE_FIX),
            "kafka.brokers": ("must be 1 in the mode 'external'", "'kraft'"),
            "kafka.port": MANAGED_SERVER_PROBLEM,
            "kafka.external.bootstrapServers": BROKERS_REQUIRED,
        },
    ),
    (
        "passwords everyone knows for a managed PostgreSQL",
        {"credentials": "well-known", "postgres": {"mode": "external", "external": {"host": "db"}}},
        {"credentials": ("roles of an external PostgreSQL", "generated")},
    ),
]


@pytest.mark.parametrize(("configuration", "expected"), [one[1:] for one in MODES], ids=[one[0] for one in MODES])
def test_a_mode_refuses_unused_keys_and_names_missing_ones(
    configuration: Mapping[str, Any], expected: Mapping[str, Rule]
) -> None:
    assert_refused(refused_keys(configuration), expected)


def test_a_managed_server_still_has_a_client_image() -> None:
    postgres = {"mode": "external", "external": {"host": "db"}, "image": "postgres:17.2"}
    stack = {"postgres": postgres, "postgresPassword": "hunter2"}
    assert parsed(stack, ["postgresPassword"]).postgres.image == "postgres:17.2"


def test_a_managed_store_uses_tls_by_default() -> None:
    secrets = {"postgresPassword": "hunter2", "redisPassword": "hunter2"}
    configured = parsed(
        {
            "postgres": {"mode": "external", "external": {"host": "db"}},
            "redis": {"mode": "external", "external": {"host": "redis"}},
            "kafka": {"mode": "external", "external": {"bootstrapServers": ["k:1"]}},
            **secrets,
        },
        [*secrets],
    )
    assert configured.postgres.external.ssl_mode == "require"
    assert configured.redis.external.tls
    assert configured.kafka.external.security_protocol == "SSL"
    assert dict(published_ports(configured)) == {}

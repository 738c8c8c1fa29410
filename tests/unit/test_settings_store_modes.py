"""Stores that the stack runs, that an operator runs, or that are managed elsewhere: what goes with each mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.mistakes import parsed, refused_keys

MANAGED = "nothing in the mode 'external', whose server is managed elsewhere: remove it"
WITHOUT_HOST = "the server's host name, as the mode is 'external'"
A_USER = "a user with SASL_SSL, and none with another protocol"
MODES: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    (
        "a managed PostgreSQL without a host",
        {"postgres": {"mode": "external"}},
        {"postgres.external.host": WITHOUT_HOST},
    ),
    ("a managed Redis without a host", {"redis": {"mode": "external"}}, {"redis.external.host": WITHOUT_HOST}),
    (
        "a managed Kafka without brokers",
        {"kafka": {"mode": "external"}},
        {"kafka.external.bootstrapServers": "at least one 'host:port', as the mode is 'external'"},
    ),
    (
        "a broker without a port",
        {"kafka": {"mode": "external", "external": {"bootstrapServers": ["kafka.example.com"]}}},
        {"kafka.external.bootstrapServers": "a list of text such as ['kafka-1.example.com:9092']"},
    ),
    (
        "SASL without a user",
        {"kafka": {"mode": "external", "external": {"bootstrapServers": ["k:1"], "securityProtocol": "SASL_SSL"}}},
        {"kafka.external.username": A_USER},
    ),
    (
        "a user without SASL",
        {"kafka": {"mode": "external", "external": {"bootstrapServers": ["k:1"], "username": "me"}}},
        {"kafka.external.username": A_USER},
    ),
    (
        "a managed PostgreSQL that isn't used",
        {"postgres": {"external": {"host": "db"}}},
        {"postgres.external": "nothing in the mode 'statefulset': remove it, or set mode to 'external'"},
    ),
    (
        "an operator's PostgreSQL that isn't used",
        {"postgres": {"cloudnativepg": {"instances": 3}}},
        {"postgres.cloudnativepg": "nothing in the mode 'statefulset': remove it, or set mode to 'cloudnativepg'"},
    ),
    (
        "a managed Redis that isn't used",
        {"redis": {"external": {"host": "redis"}}},
        {"redis.external": "nothing in the mode 'standalone': remove it, or set mode to 'external'"},
    ),
    (
        "a managed Kafka that isn't used",
        {"kafka": {"mode": "kraft", "external": {"bootstrapServers": ["k:1"]}}},
        {"kafka.external": "nothing in the mode 'kraft': remove it, or set mode to 'external'"},
    ),
    (
        "sizes of a managed PostgreSQL",
        {"postgres": {"mode": "external", "external": {"host": "db"}, "memoryMib": 1024, "port": 6432}},
        {"postgres.port": MANAGED, "postgres.memoryMib": MANAGED},
    ),
    (
        "sizes of a managed Redis",
        {"redis": {"mode": "external", "external": {"host": "redis"}, "maxMemoryMib": 512, "image": "redis:8"}},
        {"redis.image": MANAGED, "redis.maxMemoryMib": MANAGED},
    ),
    (
        "sizes of a managed Kafka",
        {"kafka": {"mode": "external", "external": {"bootstrapServers": ["k:1"]}, "heapMib": 512, "storageGib": 9}},
        {"kafka.heapMib": MANAGED, "kafka.storageGib": MANAGED},
    ),
    (
        "several brokers with ZooKeeper",
        {"kafka": {"brokers": 3}},
        {"kafka.brokers": "1 in the mode 'zookeeper'; several brokers are the mode 'kraft'"},
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
            "kafka.zookeeper": "nothing in the mode 'external', which runs no ZooKeeper: remove it",
            "kafka.brokers": "1 in the mode 'external'; several brokers are the mode 'kraft'",
            "kafka.port": MANAGED,
            "kafka.external.bootstrapServers": "at least one 'host:port', as the mode is 'external'",
        },
    ),
    (
        "passwords everyone knows for a managed PostgreSQL",
        {"credentials": "well-known", "postgres": {"mode": "external", "external": {"host": "db"}}},
        {"credentials": "'generated' with an external PostgreSQL, whose roles would get these passwords"},
    ),
]


@pytest.mark.parametrize(("configuration", "expected"), [one[1:] for one in MODES], ids=[one[0] for one in MODES])
def test_a_mode_refuses_what_it_has_no_use_for_and_says_what_it_lacks(
    configuration: Mapping[str, Any], expected: Mapping[str, str]
) -> None:
    assert refused_keys(configuration) == expected


def test_a_managed_server_still_has_an_image_whose_client_makes_the_databases() -> None:
    postgres = {"mode": "external", "external": {"host": "db"}, "image": "postgres:17.2"}
    stack = {"postgres": postgres, "postgresPassword": "hunter2"}
    assert parsed(stack, ["postgresPassword"]).postgres.image == "postgres:17.2"


def test_a_managed_store_is_encrypted_unless_the_file_says_otherwise() -> None:
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
    assert dict(configured.published_ports()) == {}

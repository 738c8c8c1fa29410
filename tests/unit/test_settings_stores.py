"""Rules for the configuration of PostgreSQL, Redis and Kafka."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.mistakes import (
    HIDDEN_VALUE,
    NOT_SET,
    UNKNOWN,
    InvalidConfiguration,
    default,
    expected_entry,
    parsed,
)

DIGEST = "sha256:" + "0a" * 32
EXACT_TAG_REQUIRED = (
    "an exact tag or a digest ('name:1.2.3', 'name@sha256:…'): a mutable tag hides changes from previews"
)
REFERENCE_REQUIRED = "an image reference such as 'redis:8.10.1' or 'ghcr.io/owner/name:1.2'"
POSTGRES_MAJOR = "doesn't begin with a PostgreSQL major version (17 or newer)"
PORT = "a whole number from 1 to 65535"

LIMITS = [
    InvalidConfiguration(
        "a port below the first",
        {"postgres": '{"port": 0}'},
        expected_entry("postgres.port", value="0", must_be=PORT, default=default("5432", "PostgresSettings")),
    ),
    InvalidConfiguration(
        "too few connections",
        {"postgres": '{"maxConnections": 19}'},
        expected_entry(
            "postgres.maxConnections",
            value="19",
            must_be="a whole number from 20 to 10000",
            default=default("150", "PostgresSettings"),
        ),
    ),
    InvalidConfiguration(
        "too many connections",
        {"postgres": '{"maxConnections": 10001}'},
        expected_entry(
            "postgres.maxConnections",
            value="10001",
            must_be="a whole number from 20 to 10000",
            default=default("150", "PostgresSettings"),
        ),
    ),
    InvalidConfiguration(
        "too small a Redis",
        {"redis": '{"maxMemoryMib": 7}'},
        expected_entry(
            "redis.maxMemoryMib",
            value="7",
            must_be="a whole number from 8 to 262144",
            default=default("128", "RedisSettings"),
        ),
    ),
    InvalidConfiguration(
        "a volume that Redis' log doesn't fit into",
        {"redis": '{"maxMemoryMib": 513}'},
        expected_entry(
            "redis.storageGib",
            value=NOT_SET,
            problem="is smaller than 4 times maxMemoryMib (513)",
            fix="'pti-calendar:redis.storageGib' 3 (or more)",
            default=default("2", "RedisSettings"),
        ),
    ),
    InvalidConfiguration(
        "a Redis that can't bound its clients",
        {"redis": '{"image": "redis:6.2"}'},
        expected_entry(
            "redis.image",
            value="'redis:6.2'",
            problem="is older than Redis 7",
            fix="'pti-calendar:redis.image' redis:8.10.1",
            default=default("redis:8.10.1", "RedisSettings"),
        ),
    ),
    InvalidConfiguration(
        "too small a heap for Kafka",
        {"kafka": '{"heapMib": 191}'},
        expected_entry(
            "kafka.heapMib",
            value="191",
            must_be="a whole number from 192",
            default=default("320", "KafkaSettings"),
        ),
    ),
    InvalidConfiguration(
        "too small a heap for ZooKeeper",
        {"kafka": '{"zookeeper": {"heapMib": 63}}'},
        expected_entry(
            "kafka.zookeeper.heapMib",
            value="63",
            must_be="a whole number from 64",
            default=default("96", "ZooKeeperSettings"),
        ),
    ),
]

IMAGES = [
    *(
        InvalidConfiguration(
            case,
            {"redis": json.dumps({"image": image})},
            expected_entry(
                "redis.image", value=repr(image), must_be=allowed, default=default("redis:8.10.1", "RedisSettings")
            ),
        )
        for case, image, allowed in [
            ("the tag latest", "redis:latest", EXACT_TAG_REQUIRED),
            ("no tag", "redis", EXACT_TAG_REQUIRED),
            ("no tag behind a registry with a port", "registry.example.com:5000/redis", EXACT_TAG_REQUIRED),
            ("upper case in the repository", "Redis:8.10.1", REFERENCE_REQUIRED),
            ("a space", "redis: 8.10.1", REFERENCE_REQUIRED),
            ("an empty reference", "", REFERENCE_REQUIRED),
            ("an empty tag", "redis:", REFERENCE_REQUIRED),
            ("a digest that is too short", "redis@sha256:0a", REFERENCE_REQUIRED),
            ("a digest that isn't hexadecimal", "redis@sha256:" + "z" * 64, REFERENCE_REQUIRED),
            ("an address instead of a reference", "https://redis.io/redis:8.10.1", REFERENCE_REQUIRED),
        ]
    ),
    *(
        InvalidConfiguration(
            f"PostgreSQL: {case}",
            {"postgres": json.dumps({"image": image})},
            expected_entry(
                "postgres.image",
                value=repr(image),
                problem=POSTGRES_MAJOR,
                fix="'pti-calendar:postgres.image' postgres:18.6",
                default=default("postgres:18.6", "PostgresSettings"),
            ),
        )
        for case, image in [
            ("a major version before 17", "postgres:16.10"),
            ("a major version of one digit", "postgres:9.6"),
            ("a tag without a major version", "postgres:bookworm"),
            ("a number of three digits", "postgres:180"),
            ("a digest alone", f"postgres@{DIGEST}"),
        ]
    ),
    InvalidConfiguration(
        "a broker of Kafka 4 with ZooKeeper",
        {"kafka": '{"image": "apache/kafka:4.3.1"}'},
        expected_entry(
            "kafka.image",
            value="'apache/kafka:4.3.1'",
            problem="is Kafka 4, which has no ZooKeeper mode",
            fix="apache/kafka:3.9.1; or set kafka.mode to 'kraft'",
            default=default("none", "KafkaSettings"),
        ),
    ),
]

CHOICES = [
    InvalidConfiguration(
        "too little memory for PostgreSQL",
        {"postgres": '{"memoryMib": 511}'},
        expected_entry(
            "postgres.memoryMib",
            value="511",
            must_be="a whole number from 512 to 1048576",
            default=default("1024", "PostgresSettings"),
        ),
    ),
    InvalidConfiguration(
        "PostgreSQL by a digest that begins like a version",
        {"postgres": json.dumps({"image": f"postgres@sha256:18{'a' * 62}"})},
        expected_entry(
            "postgres.image",
            value=f"'postgres@sha256:18{'a' * 62}'",
            problem=POSTGRES_MAJOR,
            fix="'pti-calendar:postgres.image' postgres:18.6",
            default=default("postgres:18.6", "PostgresSettings"),
        ),
    ),
    InvalidConfiguration(
        "an image with a line break",
        {"redis": '{"image": "redis:8\\n"}'},
        expected_entry(
            "redis.image",
            value=r"'redis:8\n'",
            must_be=REFERENCE_REQUIRED,
            default=default("redis:8.10.1", "RedisSettings"),
        ),
    ),
    InvalidConfiguration(
        "a key of a section in snake case",
        {"postgres": '{"memory_mib": 512}'},
        expected_entry("postgres.memory_mib", value=HIDDEN_VALUE, problem=UNKNOWN, fix="did you mean 'memoryMib'?"),
    ),
    InvalidConfiguration(
        "a broker of Kafka 4 with ZooKeeper, by way of a mirror",
        {"kafka": '{"image": "mirror.example.com/apache/kafka:4.3.1"}'},
        expected_entry(
            "kafka.image",
            value="'mirror.example.com/apache/kafka:4.3.1'",
            problem="is Kafka 4, which has no ZooKeeper mode",
            fix="apache/kafka:3.9.1; or set kafka.mode to 'kraft'",
            default=default("none", "KafkaSettings"),
        ),
    ),
    InvalidConfiguration(
        "an unknown Kafka mode",
        {"kafka": '{"mode": "raft"}'},
        expected_entry(
            "kafka.mode",
            value="'raft'",
            must_be="one of 'zookeeper', 'kraft', 'external'",
            default=default("zookeeper", "KafkaSettings"),
        ),
    ),
    InvalidConfiguration(
        "a ZooKeeper for Kafka without one",
        {"kafka": '{"mode": "kraft", "zookeeper": {"port": 2182}}'},
        expected_entry(
            "kafka.zookeeper",
            value='{"port": 2182}',
            problem="has no effect in the mode 'kraft', which runs no ZooKeeper",
            fix="pulumi config rm --path 'pti-calendar:kafka.zookeeper'",
        ),
    ),
]

INVALID_CONFIGURATIONS = [*LIMITS, *IMAGES, *CHOICES]


@pytest.mark.parametrize("invalid", INVALID_CONFIGURATIONS, ids=lambda invalid: invalid.description)
def test_one_mistake_gets_one_entry(invalid: InvalidConfiguration) -> None:
    invalid.check()


@pytest.mark.parametrize(
    "image",
    [
        "redis:8",
        "redis:8.10.1-alpine",
        f"redis@{DIGEST}",
        f"redis:8@{DIGEST}",
        "ghcr.io/kafbat/kafka-ui:v1.5.0",
        "localhost:5000/a/b/redis:8",
        "registry.example.com/a_b/c-d.e:8",
    ],
)
def test_an_image_with_an_exact_tag_or_digest_is_accepted(image: str) -> None:
    assert parsed({"redis": json.dumps({"image": image})}).redis.image == image


@pytest.mark.parametrize(
    ("image", "major"),
    [
        ("postgres:17", 17),
        ("postgres:18.6", 18),
        ("postgres:18-bookworm", 18),
        (f"postgres:19.1@{DIGEST}", 19),
        ("localhost:5000/pti/postgres:20.0", 20),
    ],
)
def test_the_major_version_of_postgresql_is_read_from_its_tag(image: str, major: int) -> None:
    assert parsed({"postgres": json.dumps({"image": image})}).postgres.major == major


@pytest.mark.parametrize(
    ("configuration", "image"),
    [
        ({}, "apache/kafka:3.9.1"),
        ({"mode": "zookeeper"}, "apache/kafka:3.9.1"),
        ({"mode": "kraft"}, "apache/kafka:4.3.1"),
        ({"mode": "kraft", "image": "apache/kafka:3.9.1"}, "apache/kafka:3.9.1"),
        ({"image": "registry.example.com/kafka:9.0"}, "registry.example.com/kafka:9.0"),
    ],
)
def test_the_brokers_image_is_the_configured_one_or_the_modes_default(
    configuration: Mapping[str, Any], image: str
) -> None:
    assert parsed({"kafka": json.dumps(configuration)}).kafka.broker_image == image

"""Rules for the configuration of PostgreSQL, Redis and Kafka."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.mistakes import HIDDEN_VALUE, NOT_SET, UNKNOWN, Bad, default, entry, parsed

DIGEST = "sha256:" + "0a" * 32
MOVING_TAG = "an exact tag or a digest ('name:1.2.3', 'name@sha256:…'): a mutable tag hides changes from previews"
NO_REFERENCE = "an image reference such as 'redis:8.10.1' or 'ghcr.io/owner/name:1.2'"
POSTGRES_MAJOR = "doesn't begin with a PostgreSQL major version, 17 or newer"
PORT = "a whole number from 1 to 65535"

LIMITS = [
    Bad(
        "a port below the first",
        {"postgres": '{"port": 0}'},
        entry("postgres.port", value="0", must_be=PORT, default=default("5432", "PostgresSettings")),
    ),
    Bad(
        "too few connections",
        {"postgres": '{"maxConnections": 19}'},
        entry(
            "postgres.maxConnections",
            value="19",
            must_be="a whole number from 20 to 10000",
            default=default("150", "PostgresSettings"),
        ),
    ),
    Bad(
        "too many connections",
        {"postgres": '{"maxConnections": 10001}'},
        entry(
            "postgres.maxConnections",
            value="10001",
            must_be="a whole number from 20 to 10000",
            default=default("150", "PostgresSettings"),
        ),
    ),
    Bad(
        "too small a Redis",
        {"redis": '{"maxMemoryMib": 7}'},
        entry(
            "redis.maxMemoryMib",
            value="7",
            must_be="a whole number from 8 to 262144",
            default=default("128", "RedisSettings"),
        ),
    ),
    Bad(
        "a volume that Redis' log doesn't fit into",
        {"redis": '{"maxMemoryMib": 513}'},
        entry(
            "redis.storageGib",
            value=NOT_SET,
            problem="is smaller than 4 times maxMemoryMib (513)",
            fix="'pti-calendar:redis.storageGib' 3 (or more)",
            default=default("2", "RedisSettings"),
        ),
    ),
    Bad(
        "a Redis that can't bound its clients",
        {"redis": '{"image": "redis:6.2"}'},
        entry(
            "redis.image",
            value="'redis:6.2'",
            problem="is older than Redis 7",
            fix="'pti-calendar:redis.image' redis:8.10.1",
            default=default("redis:8.10.1", "RedisSettings"),
        ),
    ),
    Bad(
        "too small a heap for Kafka",
        {"kafka": '{"heapMib": 191}'},
        entry("kafka.heapMib", value="191", must_be="a whole number from 192", default=default("320", "KafkaSettings")),
    ),
    Bad(
        "too small a heap for ZooKeeper",
        {"kafka": '{"zookeeper": {"heapMib": 63}}'},
        entry(
            "kafka.zookeeper.heapMib",
            value="63",
            must_be="a whole number from 64",
            default=default("96", "ZooKeeperSettings"),
        ),
    ),
]

IMAGES = [
    *(
        Bad(
            about,
            {"redis": json.dumps({"image": image})},
            entry("redis.image", value=repr(image), must_be=allowed, default=default("redis:8.10.1", "RedisSettings")),
        )
        for about, image, allowed in [
            ("the tag latest", "redis:latest", MOVING_TAG),
            ("no tag", "redis", MOVING_TAG),
            ("no tag behind a registry with a port", "registry.example.com:5000/redis", MOVING_TAG),
            ("upper case in the repository", "Redis:8.10.1", NO_REFERENCE),
            ("a space", "redis: 8.10.1", NO_REFERENCE),
            ("an empty reference", "", NO_REFERENCE),
            ("an empty tag", "redis:", NO_REFERENCE),
            ("a digest that is too short", "redis@sha256:0a", NO_REFERENCE),
            ("a digest that isn't hexadecimal", "redis@sha256:" + "z" * 64, NO_REFERENCE),
            ("an address instead of a reference", "https://redis.io/redis:8.10.1", NO_REFERENCE),
        ]
    ),
    *(
        Bad(
            f"PostgreSQL: {about}",
            {"postgres": json.dumps({"image": image})},
            entry(
                "postgres.image",
                value=repr(image),
                problem=POSTGRES_MAJOR,
                fix="'pti-calendar:postgres.image' postgres:18.6",
                default=default("postgres:18.6", "PostgresSettings"),
            ),
        )
        for about, image in [
            ("a major version before 17", "postgres:16.10"),
            ("a major version of one digit", "postgres:9.6"),
            ("a tag without a major version", "postgres:bookworm"),
            ("a number of three digits", "postgres:180"),
            ("a digest alone", f"postgres@{DIGEST}"),
        ]
    ),
    Bad(
        "a broker of Kafka 4 with ZooKeeper",
        {"kafka": '{"image": "apache/kafka:4.3.1"}'},
        entry(
            "kafka.image",
            value="'apache/kafka:4.3.1'",
            problem="is Kafka 4, which has no ZooKeeper mode",
            fix="apache/kafka:3.9.1; or set kafka.mode to 'kraft'",
            default=default("none", "KafkaSettings"),
        ),
    ),
]

CHOICES = [
    Bad(
        "too little memory for PostgreSQL",
        {"postgres": '{"memoryMib": 511}'},
        entry(
            "postgres.memoryMib",
            value="511",
            must_be="a whole number from 512 to 1048576",
            default=default("1024", "PostgresSettings"),
        ),
    ),
    Bad(
        "PostgreSQL by a digest that begins like a version",
        {"postgres": json.dumps({"image": f"postgres@sha256:18{'a' * 62}"})},
        entry(
            "postgres.image",
            value=f"'postgres@sha256:18{'a' * 62}'",
            problem=POSTGRES_MAJOR,
            fix="'pti-calendar:postgres.image' postgres:18.6",
            default=default("postgres:18.6", "PostgresSettings"),
        ),
    ),
    Bad(
        "an image with a line break",
        {"redis": '{"image": "redis:8\\n"}'},
        entry(
            "redis.image", value=r"'redis:8\n'", must_be=NO_REFERENCE, default=default("redis:8.10.1", "RedisSettings")
        ),
    ),
    Bad(
        "a key of a section in snake case",
        {"postgres": '{"memory_mib": 512}'},
        entry("postgres.memory_mib", value=HIDDEN_VALUE, problem=UNKNOWN, fix="did you mean 'memoryMib'?"),
    ),
    Bad(
        "a broker of Kafka 4 with ZooKeeper, by way of a mirror",
        {"kafka": '{"image": "mirror.example.com/apache/kafka:4.3.1"}'},
        entry(
            "kafka.image",
            value="'mirror.example.com/apache/kafka:4.3.1'",
            problem="is Kafka 4, which has no ZooKeeper mode",
            fix="apache/kafka:3.9.1; or set kafka.mode to 'kraft'",
            default=default("none", "KafkaSettings"),
        ),
    ),
    Bad(
        "a Kafka mode there isn't",
        {"kafka": '{"mode": "raft"}'},
        entry(
            "kafka.mode",
            value="'raft'",
            must_be="one of 'zookeeper', 'kraft', 'external'",
            default=default("zookeeper", "KafkaSettings"),
        ),
    ),
    Bad(
        "a ZooKeeper for Kafka without one",
        {"kafka": '{"mode": "kraft", "zookeeper": {"port": 2182}}'},
        entry(
            "kafka.zookeeper",
            value='{"port": 2182}',
            problem="has no effect in the mode 'kraft', which runs no ZooKeeper",
            fix="pulumi config rm --path 'pti-calendar:kafka.zookeeper'",
        ),
    ),
]

BAD = [*LIMITS, *IMAGES, *CHOICES]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.about)
def test_one_mistake_gets_one_entry(bad: Bad) -> None:
    bad.check()


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

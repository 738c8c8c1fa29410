"""What a stack's configuration may say of PostgreSQL, Redis and Kafka."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.mistakes import Bad, default, entry, parsed

DIGEST = "sha256:" + "0a" * 32
MOVING_TAG = "an exact tag or a digest ('name:1.2.3', 'name@sha256:…'): a moving tag hides changes from the preview"
NO_REFERENCE = "an image reference such as 'redis:8.10.1' or 'ghcr.io/owner/name:1.2'"
POSTGRES_MAJOR = (
    "a tag that begins with the PostgreSQL major version, 17 or newer (the data directory is named after it)"
)
PORT = "a whole number from 1 to 65535"

LIMITS = [
    Bad(
        "a port below the first",
        {"postgres": '{"port": 0}'},
        entry("postgres.port", given="0", allowed=PORT, default=default("5432", "Postgres")),
    ),
    Bad(
        "too few connections",
        {"postgres": '{"maxConnections": 19}'},
        entry(
            "postgres.maxConnections",
            given="19",
            allowed="a whole number from 20 to 10000",
            default=default("150", "Postgres"),
        ),
    ),
    Bad(
        "too many connections",
        {"postgres": '{"maxConnections": 10001}'},
        entry(
            "postgres.maxConnections",
            given="10001",
            allowed="a whole number from 20 to 10000",
            default=default("150", "Postgres"),
        ),
    ),
    Bad(
        "too small a Redis",
        {"redis": '{"maxMemoryMib": 7}'},
        entry(
            "redis.maxMemoryMib", given="7", allowed="a whole number from 8 to 262144", default=default("128", "Redis")
        ),
    ),
    Bad(
        "a volume that Redis' log doesn't fit into",
        {"redis": '{"maxMemoryMib": 513}'},
        entry(
            "redis.storageGib",
            given="nothing: the default below",
            allowed="at least 3: 4 times maxMemoryMib (513), as a rewrite of the append-only file keeps the old one "
            "until the new one is complete",
            default=default("2", "Redis"),
        ),
    ),
    Bad(
        "a Redis that can't bound its clients",
        {"redis": '{"image": "redis:6.2"}'},
        entry(
            "redis.image",
            given="'redis:6.2'",
            allowed="Redis 7 or newer, which bounds the memory of its clients",
            default=default("redis:8.10.1", "Redis"),
        ),
    ),
    Bad(
        "too small a heap for Kafka",
        {"kafka": '{"heapMib": 191}'},
        entry("kafka.heapMib", given="191", allowed="a whole number from 192", default=default("320", "Kafka")),
    ),
    Bad(
        "too small a heap for ZooKeeper",
        {"kafka": '{"zookeeper": {"heapMib": 63}}'},
        entry(
            "kafka.zookeeper.heapMib", given="63", allowed="a whole number from 64", default=default("96", "ZooKeeper")
        ),
    ),
]

IMAGES = [
    *(
        Bad(
            about,
            {"redis": json.dumps({"image": image})},
            entry("redis.image", given=repr(image), allowed=allowed, default=default("redis:8.10.1", "Redis")),
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
                given=repr(image),
                allowed=POSTGRES_MAJOR,
                default=default("postgres:18.6", "Postgres"),
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
            given="'apache/kafka:4.3.1'",
            allowed="apache/kafka:3.9.x, as Kafka 4 has no ZooKeeper mode; or mode 'kraft'",
            default=default("none", "Kafka"),
        ),
    ),
]

CHOICES = [
    Bad(
        "too little memory for PostgreSQL",
        {"postgres": '{"memoryMib": 511}'},
        entry(
            "postgres.memoryMib",
            given="511",
            allowed="a whole number from 512 to 1048576",
            default=default("1024", "Postgres"),
        ),
    ),
    Bad(
        "PostgreSQL by a digest that begins like a version",
        {"postgres": json.dumps({"image": f"postgres@sha256:18{'a' * 62}"})},
        entry(
            "postgres.image",
            given=f"'postgres@sha256:18{'a' * 62}'",
            allowed=POSTGRES_MAJOR,
            default=default("postgres:18.6", "Postgres"),
        ),
    ),
    Bad(
        "an image with a line break",
        {"redis": '{"image": "redis:8\\n"}'},
        entry("redis.image", given=r"'redis:8\n'", allowed=NO_REFERENCE, default=default("redis:8.10.1", "Redis")),
    ),
    Bad(
        "a key of a section in snake case",
        {"postgres": '{"memory_mib": 512}'},
        entry("postgres.memory_mib", given="an unknown key", allowed="'memoryMib', the nearest key"),
    ),
    Bad(
        "a broker of Kafka 4 with ZooKeeper, by way of a mirror",
        {"kafka": '{"image": "mirror.example.com/apache/kafka:4.3.1"}'},
        entry(
            "kafka.image",
            given="'mirror.example.com/apache/kafka:4.3.1'",
            allowed="apache/kafka:3.9.x, as Kafka 4 has no ZooKeeper mode; or mode 'kraft'",
            default=default("none", "Kafka"),
        ),
    ),
    Bad(
        "a Kafka mode there isn't",
        {"kafka": '{"mode": "raft"}'},
        entry(
            "kafka.mode",
            given="'raft'",
            allowed="one of 'zookeeper', 'kraft', 'external'",
            default=default("zookeeper", "Kafka"),
        ),
    ),
    Bad(
        "a ZooKeeper for Kafka without one",
        {"kafka": '{"mode": "kraft", "zookeeper": {"port": 2182}}'},
        entry(
            "kafka.zookeeper",
            given='{"port": 2182}',
            allowed="nothing in the mode 'kraft', which runs no ZooKeeper: remove it",
            default=None,
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
def test_an_image_with_an_exact_tag_or_digest_is_taken(image: str) -> None:
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
def test_the_broker_is_the_one_given_or_the_newest_of_its_mode(configuration: Mapping[str, Any], image: str) -> None:
    assert parsed({"kafka": json.dumps(configuration)}).kafka.broker_image == image

"""What a stack's configuration may say, and what a person is told who says something else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

import pytest
from pydantic import BaseModel, ValidationError

from settings import Settings, SettingsError, parse
from settings.credentials import CREDENTIALS, PGADMIN
from tests.unit.paths import ROOT

DIGEST = "sha256:" + "0a" * 32
SECRET_KEYS = (
    "adminAppPassword, adminMigratorPassword, auditAppPassword, auditMigratorPassword, jwtSecret, "
    "notificationAppPassword, notificationMigratorPassword, paymentAppPassword, paymentMigratorPassword, "
    "pgAdminPassword, planningAppPassword, planningMigratorPassword, postgresBackupPassword, postgresPassword, "
    "rdvAppPassword, rdvMigratorPassword, redisPassword, userAppPassword, userMigratorPassword"
)
MOVING_TAG = "an exact tag or a digest ('name:1.2.3', 'name@sha256:…'): a moving tag hides changes from the preview"
NO_REFERENCE = "an image reference such as 'redis:8.10.1' or 'ghcr.io/owner/name:1.2'"
POSTGRES_MAJOR = (
    "a tag that begins with the PostgreSQL major version, 17 or newer (the data directory is named after it)"
)
POSTGRES_SECTION = "a section with the keys image, port, memoryMib, sharedBuffersMib, maxConnections"
REGISTRY = "text such as 'registry.example.com/mirror'"
PORT = "a whole number from 1 to 65535"


def parsed(configuration: Mapping[str, str], encrypted: Collection[str] = ()) -> Settings:
    """Settings from keys without their namespace."""
    raw = {f"pti-calendar:{key}": text for key, text in configuration.items()}
    return parse(raw, {f"pti-calendar:{key}" for key in encrypted})


def refusal(configuration: Mapping[str, str], encrypted: Collection[str] = ()) -> str:
    """The message that refuses a configuration."""
    with pytest.raises(SettingsError) as refused:
        parsed(configuration, encrypted)
    return str(refused.value)


def entry(key: str, *, given: str, allowed: str, default: str | None = None) -> str:
    """One mistake as a person reads it."""
    lines = [f"pti-calendar:{key}", f"  given:   {given}", f"  allowed: {allowed}"]
    return "\n".join([*lines, *([f"  default: {default}"] if default else [])])


def default(value: str, model: str) -> str:
    """The line that says what holds without the key, and where that is written."""
    return f"{value} (class {model} in settings/models.py)"


@dataclass(frozen=True)
class Bad:
    """A configuration with one mistake, and the entry it gets."""

    about: str
    configuration: Mapping[str, str]
    expected: str
    encrypted: tuple[str, ...] = ()


def port_clash(about: str, configuration: Mapping[str, str], key: str, given: str, port: int, taken_by: str) -> Bad:
    """Two settings that name one host port."""
    own = {
        "redis.port": default("6379", "Redis"),
        "kafka.port": default("9092", "Kafka"),
        "kafka.zookeeper.port": default("2181", "ZooKeeper"),
        "devTools.pgAdmin.port": default("5050", "PgAdmin"),
        "devTools.kafkaUi.port": default("8080", "KafkaUi"),
        "devTools.redisCommander.port": default("8081", "RedisCommander"),
    }[key]
    allowed = f"a port of its own: {port} is already taken by {taken_by}"
    return Bad(about, configuration, entry(key, given=given, allowed=allowed, default=own))


UNKNOWN_KEYS = [
    Bad(
        "a section with a typing error",
        {"postgre": '{"port": 5433}'},
        entry("postgre", given="an unknown key", allowed="'postgres', the nearest key"),
    ),
    Bad(
        "a section in snake case",
        {"dev_tools": '{"enabled": true}'},
        entry("dev_tools", given="an unknown key", allowed="'devTools', the nearest key"),
    ),
    Bad(
        "a secret with a typing error",
        {"postgresPasword": "hunter2"},
        entry("postgresPasword", given="an unknown key", allowed="'postgresPassword', the nearest key"),
        ("postgresPasword",),
    ),
    Bad(
        "a top-level key like no other",
        {"zzz": "1"},
        entry(
            "zzz",
            given="an unknown key",
            allowed="one of adminAppPassword, adminMigratorPassword, auditAppPassword, auditMigratorPassword, "
            "backend, credentials, devTools, images, jwtSecret, kafka, notificationAppPassword, "
            "notificationMigratorPassword, paymentAppPassword, paymentMigratorPassword, pgAdminPassword, "
            "planningAppPassword, planningMigratorPassword, postgres, postgresBackupPassword, postgresPassword, "
            "protect, rdvAppPassword, rdvMigratorPassword, redis, redisPassword, userAppPassword, "
            "userMigratorPassword",
        ),
    ),
    Bad(
        "a key of a section with a typing error",
        {"postgres": '{"prot": 5433}'},
        entry("postgres.prot", given="an unknown key", allowed="'port', the nearest key"),
    ),
    Bad(
        "a key of a section like no other",
        {"redis": '{"zzz": 1}'},
        entry("redis.zzz", given="an unknown key", allowed="one of image, maxMemoryMib, port"),
    ),
    Bad(
        "a section of a section in the wrong case",
        {"devTools": '{"pgadmin": {}}'},
        entry("devTools.pgadmin", given="an unknown key", allowed="'pgAdmin', the nearest key"),
    ),
    Bad(
        "a key two sections down",
        {"devTools": '{"pgAdmin": {"emial": "admin@example.com"}}'},
        entry("devTools.pgAdmin.emial", given="an unknown key", allowed="'email', the nearest key"),
    ),
]

WRONG_TYPES = [
    Bad(
        "text for a number",
        {"postgres": '{"port": "5432"}'},
        entry("postgres.port", given="'5432'", allowed=PORT, default=default("5432", "Postgres")),
    ),
    Bad(
        "a boolean for a number",
        {"redis": '{"port": true}'},
        entry("redis.port", given="true", allowed=PORT, default=default("6379", "Redis")),
    ),
    Bad(
        "a fraction for a whole number",
        {"kafka": '{"port": 9092.5}'},
        entry("kafka.port", given="9092.5", allowed=PORT, default=default("9092", "Kafka")),
    ),
    Bad(
        "nothing for a number",
        {"kafka": '{"zookeeper": {"port": null}}'},
        entry("kafka.zookeeper.port", given="null", allowed=PORT, default=default("2181", "ZooKeeper")),
    ),
    Bad(
        "a number for a boolean",
        {"devTools": '{"enabled": 1}'},
        entry("devTools.enabled", given="1", allowed="true or false", default=default("false", "DevTools")),
    ),
    Bad(
        "text for a boolean",
        {"protect": "yes"},
        entry("protect", given="'yes'", allowed="true or false", default=default("false", "Settings")),
    ),
    Bad(
        "a number for text",
        {"redis": '{"image": 8}'},
        entry(
            "redis.image", given="8", allowed="text such as 'redis:8.10.1'", default=default("redis:8.10.1", "Redis")
        ),
    ),
    Bad(
        "a number for a section",
        {"postgres": "5432"},
        entry("postgres", given="5432", allowed=POSTGRES_SECTION),
    ),
    Bad("a list for a section", {"postgres": "[1]"}, entry("postgres", given="[1]", allowed=POSTGRES_SECTION)),
    Bad("nothing for a section", {"postgres": "null"}, entry("postgres", given="null", allowed=POSTGRES_SECTION)),
    Bad(
        "JSON that breaks off for a section",
        {"postgres": '{"port": '},
        entry("postgres", given="'{\"port\": '", allowed=POSTGRES_SECTION),
    ),
    Bad(
        "a boolean for a section of a section",
        {"devTools": '{"enabled": true, "kafkaUi": true}'},
        entry("devTools.kafkaUi", given="true", allowed="a section with the keys image, port, heapMib"),
    ),
]

LIMITS = [
    Bad(
        "a port below the first",
        {"postgres": '{"port": 0}'},
        entry("postgres.port", given="0", allowed=PORT, default=default("5432", "Postgres")),
    ),
    Bad(
        "a port beyond the last",
        {"devTools": '{"redisCommander": {"port": 65536}}'},
        entry("devTools.redisCommander.port", given="65536", allowed=PORT, default=default("8081", "RedisCommander")),
    ),
    Bad(
        "too small a PostgreSQL cache",
        {"postgres": '{"sharedBuffersMib": 15}'},
        entry(
            "postgres.sharedBuffersMib",
            given="15",
            allowed="a whole number from 16",
            default=default("128", "Postgres"),
        ),
    ),
    Bad(
        "a PostgreSQL cache of more than half its memory",
        {"postgres": '{"memoryMib": 512, "sharedBuffersMib": 257}'},
        entry(
            "postgres.sharedBuffersMib",
            given="257",
            allowed="at most half of memoryMib (512)",
            default=default("128", "Postgres"),
        ),
    ),
    Bad(
        "too few connections",
        {"postgres": '{"maxConnections": 19}'},
        entry(
            "postgres.maxConnections",
            given="19",
            allowed="a whole number from 20 to 10000",
            default=default("200", "Postgres"),
        ),
    ),
    Bad(
        "too many connections",
        {"postgres": '{"maxConnections": 10001}'},
        entry(
            "postgres.maxConnections",
            given="10001",
            allowed="a whole number from 20 to 10000",
            default=default("200", "Postgres"),
        ),
    ),
    Bad(
        "too small a Redis",
        {"redis": '{"maxMemoryMib": 7}'},
        entry("redis.maxMemoryMib", given="7", allowed="a whole number from 8", default=default("128", "Redis")),
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
    Bad(
        "too small a heap for Kafka UI",
        {"devTools": '{"kafkaUi": {"heapMib": 127}}'},
        entry(
            "devTools.kafkaUi.heapMib",
            given="127",
            allowed="a whole number from 128",
            default=default("192", "KafkaUi"),
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
        "a backend there isn't",
        {"backend": '{"kind": "podman"}'},
        entry("backend.kind", given="'podman'", allowed="'docker'", default=default("docker", "Backend")),
    ),
    Bad(
        "an engine without a scheme",
        {"backend": '{"host": "localhost:2375"}'},
        entry(
            "backend.host",
            given="'localhost:2375'",
            allowed="text such as 'unix:///var/run/docker.sock'",
            default=default("none", "Backend"),
        ),
    ),
    Bad(
        "an engine without an address",
        {"backend": '{"host": "tcp://"}'},
        entry(
            "backend.host",
            given="'tcp://'",
            allowed="text such as 'unix:///var/run/docker.sock'",
            default=default("none", "Backend"),
        ),
    ),
    *(
        Bad(
            f"{about} as the bind address",
            {"backend": json.dumps({"bindAddress": address})},
            entry(
                "backend.bindAddress",
                given=repr(address) if address else "null",
                allowed="an IPv4 address",
                default=default("127.0.0.1", "Backend"),
            ),
        )
        for about, address in [
            ("a name", "localhost"),
            ("an IPv6 address", "::1"),
            ("a number beyond 255", "127.0.0.256"),
            ("nothing", None),
        ]
    ),
    Bad(
        "credentials from nowhere",
        {"credentials": "vault"},
        entry(
            "credentials",
            given="'vault'",
            allowed="one of 'generated', 'well-known'",
            default=default("generated", "Settings"),
        ),
    ),
    Bad(
        "passwords everyone knows on every address",
        {"credentials": "well-known", "backend": '{"bindAddress": "10.0.0.1"}'},
        entry(
            "credentials",
            given="'well-known'",
            allowed="'generated', as backend.bindAddress publishes ports beyond this machine; "
            "or a bindAddress on loopback (127.0.0.1)",
            default=default("generated", "Settings"),
        ),
    ),
    Bad(
        "every address without the one people use",
        {"backend": '{"bindAddress": "0.0.0.0"}'},
        entry(
            "backend.publishedHost",
            given="nothing: the default below",
            allowed="the name or address people use, as bindAddress 0.0.0.0 names none",
            default=default("none", "Backend"),
        ),
    ),
    Bad(
        "a number as the bind address",
        {"backend": '{"bindAddress": 0}'},
        entry(
            "backend.bindAddress",
            given="0",
            allowed="an IPv4 address",
            default=default("127.0.0.1", "Backend"),
        ),
    ),
    Bad(
        "too little memory for PostgreSQL",
        {"postgres": '{"memoryMib": 255, "sharedBuffersMib": 64}'},
        entry(
            "postgres.memoryMib",
            given="255",
            allowed="a whole number from 256 to 1048576",
            default=default("512", "Postgres"),
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
            "kafka.mode", given="'raft'", allowed="one of 'zookeeper', 'kraft'", default=default("zookeeper", "Kafka")
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
    *(
        Bad(
            f"a mirror {about}",
            {"images": json.dumps({"registry": registry})},
            entry("images.registry", given=repr(registry), allowed=REGISTRY, default=default("none", "Images")),
        )
        for about, registry in [
            ("with a scheme", "https://registry.example.com"),
            ("that ends in a slash", "registry.example.com/mirror/"),
            ("in upper case", "Registry.example.com"),
            ("without a name", ""),
        ]
    ),
    Bad(
        "a login that isn't an address",
        {"devTools": '{"pgAdmin": {"email": "admin"}}'},
        entry(
            "devTools.pgAdmin.email",
            given="'admin'",
            allowed=r"text such as 'admin@pti-calendar.fr'",
            default=default("admin@pti-calendar.fr", "PgAdmin"),
        ),
    ),
]

DEFAULT = "nothing: the default below"
PORTS = [
    port_clash("Redis on PostgreSQL's port", {"redis": '{"port": 5432}'}, "redis.port", "5432", 5432, "postgres.port"),
    port_clash("PostgreSQL on Redis's", {"postgres": '{"port": 6379}'}, "redis.port", DEFAULT, 6379, "postgres.port"),
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
        DEFAULT,
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

UNUSABLE = "an empty value or one with a line break (not shown)"
PRINTABLE = "printable characters on one line, at least one"
SECRETS = [
    *(
        Bad(
            f"{key} in plain text",
            {key: "hunter2"},
            entry(
                key, given="a value in plain text", allowed=f"a secret: pulumi config set --secret pti-calendar:{key}"
            ),
        )
        for key in ("postgresPassword", "jwtSecret", "userMigratorPassword")
    ),
    *(
        Bad(
            f"a secret that is {about}",
            {"redisPassword": value},
            entry("redisPassword", given=UNUSABLE, allowed=PRINTABLE),
            ("redisPassword",),
        )
        for about, value in [
            ("empty", ""),
            ("blank", "   "),
            ("ended by a line break", "hunter2\n"),
            ("of two lines", "hunter2\nhunter3"),
            ("ended by a carriage return", "hunter2\r"),
            ("split by a null", "hunter\0"),
        ]
    ),
    Bad(
        "a section that is encrypted",
        {"postgres": '{"port": 5433}'},
        entry(
            "postgres",
            given="an encrypted value",
            allowed=f"plain settings; secrets are top-level keys: {SECRET_KEYS}",
        ),
        ("postgres",),
    ),
]

BAD = [*UNKNOWN_KEYS, *WRONG_TYPES, *LIMITS, *IMAGES, *CHOICES, *PORTS, *SECRETS]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.about)
def test_one_mistake_gets_one_entry(bad: Bad) -> None:
    assert refusal(bad.configuration, bad.encrypted) == (
        "1 mistake in the stack's configuration; nothing has been changed.\n\n"
        f"{bad.expected}\n\n"
        "Every key is described in docs/configuration.md."
    )


def test_the_table_has_no_case_twice() -> None:
    assert len({bad.about for bad in BAD}) == len(BAD) >= 45


def test_several_mistakes_are_told_at_once() -> None:
    message = refusal(
        {
            "postgres": '{"port": 0, "image": "postgres:latest"}',
            "kafka": '{"zookeeper": {"heap": 96}}',
            "devTool": "{}",
            "jwtSecret": "hunter2",
            "protect": "on",
        }
    )
    assert message == (
        """\
6 mistakes in the stack's configuration; nothing has been changed.

pti-calendar:devTool
  given:   an unknown key
  allowed: 'devTools', the nearest key

pti-calendar:jwtSecret
  given:   a value in plain text
  allowed: a secret: pulumi config set --secret pti-calendar:jwtSecret

pti-calendar:protect
  given:   'on'
  allowed: true or false
  default: false (class Settings in settings/models.py)

pti-calendar:postgres.image
  given:   'postgres:latest'
  allowed: an exact tag or a digest ('name:1.2.3', 'name@sha256:…'): a moving tag hides changes from the preview
  default: postgres:18.6 (class Postgres in settings/models.py)

pti-calendar:postgres.port
  given:   0
  allowed: a whole number from 1 to 65535
  default: 5432 (class Postgres in settings/models.py)

pti-calendar:kafka.zookeeper.heap
  given:   an unknown key
  allowed: 'heapMib', the nearest key

Every key is described in docs/configuration.md."""
    )


@pytest.mark.parametrize("key", [credential.key for credential in CREDENTIALS])
@pytest.mark.parametrize("value", ["hunter2", "hunter2\n", "hunter2\nhunter3"], ids=repr)
def test_no_message_shows_a_secret_in_plain_text(key: str, value: str) -> None:
    assert "hunter" not in refusal({key: value})


def test_no_message_shows_an_unusable_secret() -> None:
    encrypted = [credential.key for credential in CREDENTIALS]
    message = refusal(dict.fromkeys(encrypted, "hunter2\n"), encrypted)
    assert message.startswith(f"{len(encrypted)} mistakes")
    assert "hunter" not in message


def test_no_message_shows_the_value_of_an_unknown_key() -> None:
    assert "hunter" not in refusal({"postgresPaswrd": "hunter2", "postgres": '{"password": "hunter2"}'})


def test_no_message_shows_a_secret_under_a_wrong_key() -> None:
    assert "hunter" not in refusal({"password": "hunter2"}, ["password"])


def test_nothing_at_all_is_a_good_configuration() -> None:
    assert parsed({}) == Settings()


def test_a_good_secret_is_left_out_of_the_settings() -> None:
    configured = parsed({"postgresPassword": "pässwörd with spaces"}, ["postgresPassword"])
    assert configured == Settings()
    assert "pässwörd" not in repr(configured)


def test_keys_of_other_namespaces_are_left_alone() -> None:
    assert parse({"pulumi:disable-default-providers": '["docker"]', "aws:region": "eu-west-3"}) == Settings()


def test_every_key_can_be_set_in_camel_case() -> None:
    configured = parsed(
        {
            "backend": '{"kind": "docker", "host": "ssh://me@engine", "bindAddress": "127.0.0.2", '
            '"publishedHost": "engine"}',
            "credentials": "well-known",
            "protect": "true",
            "images": '{"registry": "registry.example.com:5000/mirror"}',
            "postgres": '{"image": "postgres:17.2", "port": 1, "memoryMib": 1048576, "sharedBuffersMib": 524288,'
            ' "maxConnections": 10000}',
            "redis": '{"image": "redis:7.4", "port": 65535, "maxMemoryMib": 8}',
            "kafka": '{"mode": "zookeeper", "image": "apache/kafka:3.9.0", "port": 2, "heapMib": 192,'
            ' "zookeeper": {"image": "zookeeper:3.9.4", "port": 3, "heapMib": 64}}',
            "devTools": '{"enabled": true, "pgAdmin": {"image": "dpage/pgadmin4:9.1", "port": 4,'
            ' "email": "me@example.com"}, "kafkaUi": {"image": "kafbat/kafka-ui:1", "port": 6, "heapMib": 128},'
            ' "redisCommander": {"image": "rc:1", "port": 7}}',
        }
    )
    assert configured.model_dump() == {
        "backend": {
            "kind": "docker",
            "host": "ssh://me@engine",
            "bind_address": IPv4Address("127.0.0.2"),
            "published_host": "engine",
        },
        "credentials": "well-known",
        "protect": True,
        "images": {"registry": "registry.example.com:5000/mirror"},
        "postgres": {
            "image": "postgres:17.2",
            "port": 1,
            "memory_mib": 1048576,
            "shared_buffers_mib": 524288,
            "max_connections": 10000,
        },
        "redis": {"image": "redis:7.4", "port": 65535, "max_memory_mib": 8},
        "kafka": {
            "mode": "zookeeper",
            "image": "apache/kafka:3.9.0",
            "port": 2,
            "heap_mib": 192,
            "zookeeper": {"image": "zookeeper:3.9.4", "port": 3, "heap_mib": 64},
        },
        "dev_tools": {
            "enabled": True,
            "pg_admin": {"image": "dpage/pgadmin4:9.1", "port": 4, "email": "me@example.com"},
            "kafka_ui": {"image": "kafbat/kafka-ui:1", "port": 6, "heap_mib": 128},
            "redis_commander": {"image": "rc:1", "port": 7},
        },
    }


def test_the_defaults_suit_a_developer() -> None:
    configured = parsed({})
    assert str(configured.backend.bind_address) == "127.0.0.1"
    assert configured.credentials == "generated"
    assert not configured.protect
    assert not configured.dev_tools.enabled
    assert dict(configured.published_ports()) == {
        "postgres.port": 5432,
        "redis.port": 6379,
        "kafka.port": 9092,
        "kafka.zookeeper.port": 2181,
    }


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
def test_the_broker_is_the_one_given_or_the_newest_of_its_mode(configuration: Mapping[str, str], image: str) -> None:
    assert parsed({"kafka": json.dumps(configuration)}).kafka.broker_image == image


def test_a_cache_of_exactly_half_the_memory_is_taken() -> None:
    assert parsed({"postgres": '{"memoryMib": 256, "sharedBuffersMib": 128}'}).postgres.shared_buffers_mib == 128


def test_a_tool_that_does_not_run_holds_no_port() -> None:
    configured = parsed({"devTools": '{"enabled": false, "kafkaUi": {"port": 5432}}'})
    assert "devTools.kafkaUi.port" not in dict(configured.published_ports())


def test_kafka_without_zookeeper_leaves_its_port_to_others() -> None:
    assert dict(parsed({"kafka": '{"mode": "kraft", "port": 2181}'}).published_ports())["kafka.port"] == 2181


def test_well_known_passwords_may_stay_on_any_loopback_address() -> None:
    configured = parsed({"credentials": "well-known", "backend": '{"bindAddress": "127.0.0.9"}'})
    assert configured.credentials == "well-known"


def test_generated_passwords_may_be_published_anywhere() -> None:
    configured = parsed({"backend": '{"bindAddress": "0.0.0.0", "publishedHost": "engine"}'})
    assert configured.backend.reached_at == "engine"


def test_every_port_clash_is_told_at_once() -> None:
    message = refusal({"redis": '{"port": 5432}', "kafka": '{"port": 2181}'})
    assert message.startswith("2 mistakes")


@pytest.mark.parametrize("text", ["hunter2", '{"port": "hunter2"}', '{"image": "hunter2 x"}'])
def test_no_message_shows_what_is_in_an_encrypted_section(text: str) -> None:
    assert "hunter2" not in refusal({"postgres": text}, ["postgres"])


@pytest.mark.parametrize("enabled", [True, False])
def test_pgadmins_password_is_required_where_pgadmin_runs(enabled: bool) -> None:
    required = parsed({"devTools": json.dumps({"enabled": enabled})}).required_credentials()
    assert (PGADMIN in required) is enabled
    assert set(CREDENTIALS) - set(required) <= {PGADMIN}


@pytest.mark.parametrize("section", [name for name, one in Settings() if isinstance(one, BaseModel)])
def test_a_section_never_changes_once_it_is_read(section: str) -> None:
    model: BaseModel = getattr(parsed({}), section)
    field, value = next(iter(model))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(model, field, value)


def test_the_settings_never_change_once_they_are_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parsed({}).protect = True  # type: ignore[misc]


def test_reading_settings_needs_no_provider() -> None:
    program = (
        "import sys; from settings import parse; parse({'pti-calendar:protect': 'true'});"
        "print([name for name in sys.modules if name.startswith('pulumi_')])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Rules for every configuration key, and the error messages."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import BaseModel, ValidationError

from settings import Settings, parse
from settings.credentials import CREDENTIALS
from settings.ports import published_ports
from tests.unit.mistakes import (
    HIDDEN_VALUE,
    UNKNOWN,
    InvalidConfiguration,
    default,
    expected_entry,
    parsed,
    refusal,
)
from tests.unit.paths import ROOT

POSTGRES_SECTION = (
    "a section with the keys mode, image, previousMajor, port, memoryMib, maxConnections, cpuRequest, storageGib, "
    "external, cloudnativepg"
)
TOP_LEVEL = ", ".join(
    sorted([*(field.alias or name for name, field in Settings.model_fields.items()), *(one.key for one in CREDENTIALS)])
)
PORT = "a whole number from 1 to 65535"

UNKNOWN_KEYS = [
    InvalidConfiguration(
        "a section with a typing error",
        {"postgre": '{"port": 5433}'},
        expected_entry("postgre", value=HIDDEN_VALUE, problem=UNKNOWN, fix="did you mean 'postgres'?"),
    ),
    InvalidConfiguration(
        "a section in snake case",
        {"dev_tools": '{"enabled": true}'},
        expected_entry("dev_tools", value=HIDDEN_VALUE, problem=UNKNOWN, fix="did you mean 'devTools'?"),
    ),
    InvalidConfiguration(
        "a secret with a typing error",
        {"postgresPasword": "hunter2"},
        expected_entry("postgresPasword", value=HIDDEN_VALUE, problem=UNKNOWN, fix="did you mean 'postgresPassword'?"),
        ("postgresPasword",),
    ),
    InvalidConfiguration(
        "an unknown top-level key that resembles no other",
        {"zzz": "1"},
        expected_entry(
            "zzz",
            value=HIDDEN_VALUE,
            problem=UNKNOWN,
            fix=f"the known keys are {TOP_LEVEL}",
        ),
    ),
    InvalidConfiguration(
        "a key of a section with a typing error",
        {"postgres": '{"prot": 5433}'},
        expected_entry("postgres.prot", value=HIDDEN_VALUE, problem=UNKNOWN, fix="did you mean 'port'?"),
    ),
    InvalidConfiguration(
        "an unknown key of a section that resembles no other",
        {"redis": '{"zzz": 1}'},
        expected_entry(
            "redis.zzz",
            value=HIDDEN_VALUE,
            problem=UNKNOWN,
            fix="the known keys are cpuRequest, external, image, maxMemoryMib, mode, port, storageGib",
        ),
    ),
    InvalidConfiguration(
        "a section of a section in the wrong case",
        {"devTools": '{"pgadmin": {}}'},
        expected_entry("devTools.pgadmin", value=HIDDEN_VALUE, problem=UNKNOWN, fix="did you mean 'pgAdmin'?"),
    ),
    InvalidConfiguration(
        "a key two sections down",
        {"devTools": '{"pgAdmin": {"emial": "admin@example.com"}}'},
        expected_entry("devTools.pgAdmin.emial", value=HIDDEN_VALUE, problem=UNKNOWN, fix="did you mean 'email'?"),
    ),
]

WRONG_TYPES = [
    InvalidConfiguration(
        "text for a number",
        {"postgres": '{"port": "0777"}'},
        expected_entry("postgres.port", value="'0777'", must_be=PORT, default=default("5432", "PostgresSettings")),
    ),
    InvalidConfiguration(
        "a boolean for a number",
        {"redis": '{"port": true}'},
        expected_entry("redis.port", value="true", must_be=PORT, default=default("6379", "RedisSettings")),
    ),
    InvalidConfiguration(
        "a fraction for a whole number",
        {"kafka": '{"port": 9092.5}'},
        expected_entry("kafka.port", value="9092.5", must_be=PORT, default=default("9092", "KafkaSettings")),
    ),
    InvalidConfiguration(
        "nothing for a number",
        {"kafka": '{"zookeeper": {"port": null}}'},
        expected_entry(
            "kafka.zookeeper.port", value="null", must_be=PORT, default=default("2181", "ZooKeeperSettings")
        ),
    ),
    InvalidConfiguration(
        "a number for a boolean",
        {"devTools": '{"enabled": 1}'},
        expected_entry(
            "devTools.enabled", value="1", must_be="true or false", default=default("false", "DevToolsSettings")
        ),
    ),
    InvalidConfiguration(
        "text for a boolean",
        {"protect": "yes"},
        expected_entry("protect", value="'yes'", must_be="true or false", default=default("false", "Settings")),
    ),
    InvalidConfiguration(
        "a number for text",
        {"redis": '{"image": 8}'},
        expected_entry(
            "redis.image",
            value="8",
            must_be="a string such as 'redis:8.10.1'",
            fix="put strings in quotes: pulumi config set --path --type string 'pti-calendar:redis.image' 8",
            default=default("redis:8.10.1", "RedisSettings"),
        ),
    ),
    InvalidConfiguration(
        "a number for a section",
        {"postgres": "5432"},
        expected_entry("postgres", value="5432", must_be=POSTGRES_SECTION),
    ),
    InvalidConfiguration(
        "a list for a section", {"postgres": "[1]"}, expected_entry("postgres", value="[1]", must_be=POSTGRES_SECTION)
    ),
    InvalidConfiguration(
        "nothing for a section",
        {"postgres": "null"},
        expected_entry("postgres", value="null", must_be=POSTGRES_SECTION),
    ),
    InvalidConfiguration(
        "JSON that breaks off for a section",
        {"postgres": '{"port": '},
        expected_entry("postgres", value="'{\"port\": '", must_be=POSTGRES_SECTION),
    ),
    InvalidConfiguration(
        "a boolean for a section of a section",
        {"devTools": '{"enabled": true, "kafkaUi": true}'},
        expected_entry("devTools.kafkaUi", value="true", must_be="a section with the keys image, port, heapMib"),
    ),
]

INVALID_CONFIGURATIONS = [*UNKNOWN_KEYS, *WRONG_TYPES]


@pytest.mark.parametrize("invalid", INVALID_CONFIGURATIONS, ids=lambda invalid: invalid.description)
def test_one_mistake_gets_one_entry(invalid: InvalidConfiguration) -> None:
    invalid.check()


def test_several_mistakes_are_reported_together() -> None:
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
  value:   (not shown)
  problem: is an unknown key
  fix:     did you mean 'devTools'?

pti-calendar:jwtSecret
  value:   (not shown)
  problem: is a secret in plain text
  fix:     pulumi config set --secret pti-calendar:jwtSecret

pti-calendar:protect
  value:   'on'
  problem: must be true or false
  default: false (class Settings in settings/models.py)

pti-calendar:postgres.image
  value:   'postgres:latest'
  problem: must be an exact tag or a digest ('name:1.2.3', 'name@sha256:…'): a mutable tag hides changes from previews
  default: postgres:18.6 (class PostgresSettings in settings/stores/postgres.py)

pti-calendar:postgres.port
  value:   0
  problem: must be a whole number from 1 to 65535
  default: 5432 (class PostgresSettings in settings/stores/postgres.py)

pti-calendar:kafka.zookeeper.heap
  value:   (not shown)
  problem: is an unknown key
  fix:     did you mean 'heapMib'?

Every key is described in docs/configuration.md."""
    )


def test_an_empty_configuration_is_valid() -> None:
    assert parsed({}) == Settings()


def test_keys_of_other_namespaces_are_ignored() -> None:
    assert parse({"pulumi:disable-default-providers": '["docker"]', "aws:region": "eu-west-3"}) == Settings()


def test_the_defaults_suit_a_developer() -> None:
    configured = parsed({})
    assert str(configured.backend.bind_address) == "127.0.0.1"
    assert configured.credentials == "generated"
    assert not configured.protect
    assert not configured.dev_tools.enabled
    assert dict(published_ports(configured)) == {
        "postgres.port": 5432,
        "redis.port": 6379,
        "kafka.port": 9092,
        "kafka.zookeeper.port": 2181,
    }


@pytest.mark.parametrize("section", [name for name, one in Settings() if isinstance(one, BaseModel)])
def test_a_section_is_immutable(section: str) -> None:
    model: BaseModel = getattr(parsed({}), section)
    field, value = next(iter(model))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(model, field, value)


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parsed({}).protect = True  # type: ignore[misc]


def test_reading_settings_needs_no_provider() -> None:
    program = (
        "import sys; from settings import parse; parse({'pti-calendar:protect': 'true'});"
        "print([name for name in sys.modules if name.startswith('pulumi_')])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

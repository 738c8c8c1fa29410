"""The source of each secret value in the stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pulumi
import pytest

from components.credentials import Credentials
from contract import StackOutputs
from recording.recorder import Recording, record
from settings.catalog import SERVICES
from settings.credential import Credential
from settings.credentials import CREDENTIALS, JWT, PGADMIN
from settings.stores.kafka import KAFKA
from settings.stores.postgres import POSTGRES_ADMIN
from settings.stores.redis import REDIS
from tests.unit.conftest import FULL_DOCKER, PROVIDER_SECRETS, Deploy
from tests.unit.platform_recording import RecordPlatform, pulumi_config

Source = Literal["generated", "well-known"]


def credentials(
    source: Source, supplied: dict[str, str] | None = None, *, protect: bool = False
) -> tuple[dict[Credential, tuple[str, bool] | None], Recording[None]]:
    """Map each credential to its value (None: no password) and whether it is secret; also return the resources that
    generate credentials."""

    def program() -> None:
        made = Credentials("credentials", required=CREDENTIALS, source=source, protect=protect)
        for one in CREDENTIALS:
            pulumi.export(one.key, made.find(one))

    raw = pulumi_config(supplied or {})
    recording = record(program, raw=raw, secret=[*raw])
    exported, secret = recording.exports, recording.secret_exports
    values = {one: (exported[one.key], one.key in secret) if one.key in exported else None for one in CREDENTIALS}
    return values, recording


@pytest.mark.parametrize("source", ["generated", "well-known"])
@pytest.mark.parametrize("supplied", [CREDENTIALS[::2], CREDENTIALS[1::2]], ids=["every other one", "the others"])
def test_a_supplied_value_overrides_the_source(source: Source, supplied: Sequence[Credential]) -> None:
    values, recording = credentials(source, {one.key: f"hunter2 of {one.key}" for one in supplied})
    others = [one for one in CREDENTIALS if one not in supplied]
    assert {one: values[one] for one in supplied} == {one: (f"hunter2 of {one.key}", True) for one in supplied}
    generated = {one.name for one in recording.of_type("RandomPassword")}
    if source == "generated":
        assert {one: values[one] for one in others} == dict.fromkeys(others, ("generated", True))
        assert generated == {one.key for one in others}
    else:
        assert {one: values[one] for one in others} == {
            one: one.well_known and (one.well_known, True) for one in others
        }
        assert generated == set()


def test_well_known_values_are_the_documented_ones() -> None:
    values, recording = credentials("well-known")
    assert values == {one: one.well_known and (one.well_known, True) for one in CREDENTIALS}
    assert values[POSTGRES_ADMIN] == ("postgres", True)
    assert values[PGADMIN] == ("admin", True)
    assert recording.of_type("RandomPassword") == []


def test_a_well_known_redis_has_no_password() -> None:
    assert credentials("well-known")[0][REDIS] is None


def test_a_supplied_redis_password_is_used_with_well_known_credentials() -> None:
    assert credentials("well-known", {"redisPassword": "hunter2"})[0][REDIS] == ("hunter2", True)


def test_every_generated_value_is_a_separate_secret() -> None:
    values, recording = credentials("generated")
    assert values == dict.fromkeys(CREDENTIALS, ("generated", True))
    generated = recording.of_type("RandomPassword")
    assert [one.name for one in generated] == sorted(one.key for one in CREDENTIALS)
    assert {one.parent for one in generated} == {"pti-calendar:index:Credentials credentials"}


def test_a_generated_value_is_long_and_needs_no_escaping() -> None:
    inputs = {one.name: one.inputs for one in credentials("generated")[1].of_type("RandomPassword")}
    assert inputs == {one.key: {"length": 32, "special": False} for one in CREDENTIALS}


@pytest.mark.parametrize("protect", [True, False])
def test_generated_values_are_protected_if_configured(protect: bool) -> None:
    generated = credentials("generated", protect=protect)[1].of_type("RandomPassword")
    assert {one.protect for one in generated} == {protect}


def test_requesting_an_unused_credential_is_an_error() -> None:
    def program() -> None:
        made = Credentials("credentials", required=[JWT], source="well-known", protect=False)
        with pytest.raises(KeyError, match="postgresPassword"):
            made.find(POSTGRES_ADMIN)

    record(program)


def test_requesting_the_password_of_a_store_without_one_is_an_error() -> None:
    def program() -> None:
        made = Credentials("credentials", required=CREDENTIALS, source="well-known", protect=False)
        with pytest.raises(KeyError, match="redisPassword has no value in this stack: Redis requires none"):
            made[REDIS]

    record(program)


def test_two_credentials_never_share_a_key_or_a_variable() -> None:
    assert len({one.key for one in CREDENTIALS}) == len({one.variable for one in CREDENTIALS}) == len(CREDENTIALS)


PAYMENT_SECRETS = {key: PROVIDER_SECRETS[key] for key in ("stripeSecretKey", "stripeWebhookSecret")}
SUPPLIED_SECRETS = {"postgresPassword": "hunter2", "redisPassword": "hunter3", "userAppPassword": "hunter4"}


@pytest.mark.parametrize(
    ("configuration", "supplied", "absent"),
    [
        ({"credentials": "well-known"}, {}, {"redis", "pg_admin"}),
        ({"credentials": "well-known", "devTools": {"enabled": True}}, {}, {"redis"}),
        ({}, {}, {"pg_admin"}),
        ({"devTools": {"enabled": True}}, SUPPLIED_SECRETS, set()),
    ],
    ids=["well-known", "well-known with tools", "generated", "supplied"],
)
def test_every_credential_in_the_stack_outputs_is_secret(
    deploy: Deploy, configuration: dict[str, Any], supplied: dict[str, str], absent: set[str]
) -> None:
    recording = deploy(configuration, supplied)
    exported = recording.exports["credentials"]
    single = {name for name in ("redis", "kafka", "jwt_secret", "pg_admin") if exported.get(name) is not None}
    assert exported["third_parties"] == {}
    assert single == {"redis", "jwt_secret", "pg_admin"} - absent
    assert len(exported["postgres"]) == 2 + 2 * len(SERVICES)
    assert recording.secret_exports == {
        *(f"credentials.{name}" for name in single),
        *(f"credentials.postgres.{role}" for role in exported["postgres"]),
    }


def test_third_party_secrets_are_in_the_outputs_of_a_stack_that_has_them(deploy: Deploy) -> None:
    recording = deploy({"services": {"deploy": ["payment", "user"]}}, PAYMENT_SECRETS)
    assert recording.exports["credentials"]["third_parties"] == {
        "STRIPE_SECRET_KEY": "a stripeSecretKey",
        "STRIPE_WEBHOOK_SECRET": "a stripeWebhookSecret",
    }
    assert recording.secret_exports >= {
        "credentials.third_parties.STRIPE_SECRET_KEY",
        "credentials.third_parties.STRIPE_WEBHOOK_SECRET",
    }


def test_no_debug_message_holds_a_credential_of_the_outputs(deploy: Deploy) -> None:
    """Debug messages appear unmasked in `--debug`, `--json`, `--event-log` and `--logtostderr`."""
    supplied = {one.key: f"CANARY-{one.key}" for one in CREDENTIALS if one is not KAFKA}
    recording = deploy({**FULL_DOCKER, "credentials": "generated"}, supplied)
    assert "CANARY-jwtSecret" in str(recording.exports)
    assert any("register resource outputs" in message for message in recording.debug_log)
    assert [message for message in recording.debug_log if "CANARY-" in message] == []


def test_another_program_parses_the_outputs_with_the_contract(dev: Recording[None]) -> None:
    outputs = StackOutputs.parse(dev.exports)
    assert outputs.postgres.databases.keys() == {service.name for service in SERVICES}
    assert outputs.credentials.postgres["postgres"] == "postgres"
    assert outputs.credentials.postgres[outputs.postgres.databases["user"].app_role] == "pti_user_app"
    assert (outputs.credentials.redis, outputs.credentials.pg_admin) == (None, "admin")
    assert outputs.tools.pg_admin == "http://127.0.0.1:5050"


def test_the_outputs_of_a_stack_without_tools_have_no_tool_urls(deploy: Deploy) -> None:
    tools = StackOutputs.parse(deploy({}).exports).tools
    assert (tools.pg_admin, tools.kafka_ui, tools.redis_commander) == (None, None, None)


@pytest.mark.parametrize(
    ("configuration", "secrets"),
    [
        (FULL_DOCKER, {}),
        ({**FULL_DOCKER, "credentials": "generated"}, PROVIDER_SECRETS),
        ({"credentials": "well-known", "devTools": {"enabled": True}}, {}),
    ],
    ids=["well-known", "generated", "stores and tools"],
)
def test_a_file_set_is_secret_exactly_if_its_contents_are(
    record_platform: RecordPlatform, configuration: Mapping[str, Any], secrets: dict[str, str]
) -> None:
    platform = record_platform(configuration, secrets)
    marked = {
        f"{workload.name}/{file_set.name}"
        for workload in platform.workloads.values()
        for file_set in workload.file_sets
        if file_set.secret
    }
    assert marked == platform.secret_files
    assert marked >= {"postgres/admin", "databases/roles", "pgadmin/passwords"}
    assert marked < platform.files.keys()


@pytest.mark.parametrize("configuration", [FULL_DOCKER, {**FULL_DOCKER, "credentials": "generated"}])
def test_no_credential_is_in_a_variable_of_any_workload(
    record_platform: RecordPlatform, configuration: Mapping[str, Any]
) -> None:
    secrets = {} if configuration["credentials"] == "well-known" else PROVIDER_SECRETS
    for workload in record_platform(configuration, secrets).workloads.values():
        assert [name for name, value in workload.environment.items() if not isinstance(value, str)] == []


def test_no_credential_is_in_a_variable_of_a_container(dev: Recording[None], deploy: Deploy) -> None:
    for recording in (dev, deploy({"devTools": {"enabled": True}})):
        assert [str(one) for one in recording.of_type("Container") if any("envs" in path for path in one.secret)] == []

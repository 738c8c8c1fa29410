"""Where each secret value of the stack comes from."""

from __future__ import annotations

from typing import Any, Literal

import pulumi
import pytest

from components.credentials import Credentials
from components.platform import Platform
from settings.credentials import CREDENTIALS, JWT, PGADMIN, POSTGRES_ADMIN, REDIS, Credential
from tests.unit.conftest import Deploy, as_raw
from tests.unit.recorder import Recording, record

Source = Literal["generated", "well-known"]


def credentials(
    source: Source, supplied: dict[str, str] | None = None, *, protect: bool = False
) -> tuple[dict[Credential, tuple[str, bool] | None], Recording[Any]]:
    """Each credential's value and whether it is secret (None: no password at all), and the resources behind them."""
    values: dict[Credential, tuple[str, bool] | None] = {}

    def program() -> None:
        made = Credentials("credentials", required=CREDENTIALS, source=source, protect=protect)
        for credential in CREDENTIALS:
            output = made.find(credential)
            values[credential] = None
            if output is not None:
                secret = pulumi.Output.from_input(output.is_secret())
                # The outer apply sees the plain value of a secret one; `secret` says which it was.
                pulumi.Output.all(output, secret).apply(lambda both, key=credential: values.update({key: tuple(both)}))

    raw = as_raw(supplied or {})
    recording = record(program, raw=raw, secret=[*raw])
    return values, recording


@pytest.mark.parametrize("source", ["generated", "well-known"])
@pytest.mark.parametrize("credential", CREDENTIALS, ids=lambda credential: credential.key)
def test_a_supplied_value_wins(source: Source, credential: Credential) -> None:
    values, recording = credentials(source, {credential.key: "hunter2"})
    assert values[credential] == ("hunter2", True)
    assert [one.name for one in recording.of_type("RandomPassword") if one.name == credential.key] == []
    assert [other.key for other, value in values.items() if value == ("hunter2", True)] == [credential.key]


def test_well_known_values_are_the_ones_everyone_knows() -> None:
    values, recording = credentials("well-known")
    assert values == {one: one.well_known and (one.well_known, True) for one in CREDENTIALS}
    assert values[POSTGRES_ADMIN] == ("postgres", True)
    assert values[PGADMIN] == ("admin", True)
    assert recording.of_type("RandomPassword") == []


def test_a_well_known_redis_has_no_password() -> None:
    assert credentials("well-known")[0][REDIS] is None


def test_a_well_known_redis_has_the_password_that_is_supplied() -> None:
    assert credentials("well-known", {"redisPassword": "hunter2"})[0][REDIS] == ("hunter2", True)


def test_every_generated_value_is_a_secret_of_its_own() -> None:
    values, recording = credentials("generated")
    assert values == dict.fromkeys(CREDENTIALS, ("generated", True))
    generated = recording.of_type("RandomPassword")
    assert [one.name for one in generated] == sorted(one.key for one in CREDENTIALS)
    assert {one.parent for one in generated} == {"pti-calendar:index:Credentials credentials"}


def test_a_generated_value_is_long_and_plain_to_every_file_that_holds_it() -> None:
    inputs = {one.name: one.inputs for one in credentials("generated")[1].of_type("RandomPassword")}
    assert inputs == {one.key: {"length": 32, "special": False} for one in CREDENTIALS}


@pytest.mark.parametrize("protect", [True, False])
def test_generated_values_are_protected_as_settings_say(protect: bool) -> None:
    generated = credentials("generated", protect=protect)[1].of_type("RandomPassword")
    assert {one.protect for one in generated} == {protect}


def test_a_credential_the_stack_does_not_use_can_not_be_asked_for() -> None:
    def program() -> None:
        made = Credentials("credentials", required=[JWT], source="well-known", protect=False)
        with pytest.raises(KeyError, match="postgresPassword"):
            made.find(POSTGRES_ADMIN)

    record(program)


def test_the_password_of_a_store_without_one_can_not_be_asked_for() -> None:
    def program() -> None:
        made = Credentials("credentials", required=CREDENTIALS, source="well-known", protect=False)
        with pytest.raises(KeyError, match="redisPassword has no value in this stack: Redis asks for none"):
            made[REDIS]

    record(program)


def test_two_credentials_never_share_a_key_or_a_variable() -> None:
    assert len({one.key for one in CREDENTIALS}) == len({one.variable for one in CREDENTIALS}) == len(CREDENTIALS)


def test_every_credential_in_the_stacks_outputs_is_secret(deploy: Deploy, dev: Recording[Platform]) -> None:
    supplied = {"postgresPassword": "hunter2", "redisPassword": "hunter3", "userAppPassword": "hunter4"}
    for recording in (dev, deploy({}), deploy({"devTools": {"enabled": True}}, supplied)):
        outputs = recording.result.outputs.credentials
        values = [*outputs.postgres.values(), outputs.redis, outputs.jwt_secret, outputs.pg_admin]
        present = [value for value in values if value is not None]
        assert len(present) >= 17
        assert [value for value in present if not value.is_secret().result()] == []

"""A recognisable value set as every secret is found where it is needed, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import dataclass

import psycopg
import pytest

from settings.catalog import SERVICES
from settings.credentials import required_credentials
from settings.models import Settings
from tests.engine import configurations, docker_engine
from tests.engine.canary import canaries, found_below, found_in, found_in_volumes, watched_arguments
from tests.engine.conftest import MakeStack
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import Outcome, PulumiStack
from tests.engine.stores import Stores

ROLES = {f"{service.name}{role}Password" for service in SERVICES for role in ("App", "Migrator")}
REQUIRED_SECRETS = {
    "postgres-admin": {"postgresPassword"},
    "databases-admin": {"postgresPassword"},
    "databases-roles": ROLES | {"postgresBackupPassword"},
    "redis-password": {"redisPassword"},
    "pgadmin-passwords": {"pgAdminPassword", "postgresPassword"},
    "redis-commander-configuration": {"redisPassword"},
}
"""Maps each volume, without prefix and suffix, to the credentials that its workload uses to log in. Nothing in the
stack needs the JWT secret."""
USED_SECRETS = {one.key for one in required_credentials(Settings.model_validate({"dev_tools": {"enabled": True}}))}
"""The credentials of the stores and the tools; those of other components are set where these run."""

CHANGED_SECRETS = ("redisPassword", "userAppPassword", "jwtSecret")


@dataclass(frozen=True)
class CanaryStack:
    """A running stack with a canary value as every credential, some of which have been changed once."""

    stack: PulumiStack
    values: dict[str, str]
    """The current values."""

    outcomes: dict[str, Outcome]
    arguments: set[str]
    """Command lines of this machine's processes during the stack's creation."""


@pytest.fixture(scope="module")
def canary_stack(make_shared_stack: MakeStack) -> CanaryStack:
    """A stack with all components of dev: created, then some of the values changed."""
    stack = make_shared_stack(configuration=configurations.zookeeper_with_tools() | {"credentials": "generated"})
    values = {key: value for key, value in canaries().items() if key in USED_SECRETS}
    stack.set_secrets(values)
    outcomes = {"first preview": stack.preview("--diff")}
    with watched_arguments() as arguments:
        outcomes["up"] = stack.up("--diff", "--debug")
    outcomes["up"].succeeded()
    changed = {key: value for key, value in canaries(version=2).items() if key in CHANGED_SECRETS}
    stack.set_secrets(changed)
    outcomes["preview"] = stack.preview("--diff")
    outcomes["preview --json"] = stack.preview("--json")
    with watched_arguments() as later:
        outcomes["up with other values"] = stack.up()
    for outcome in outcomes.values():
        outcome.succeeded()
    return CanaryStack(stack, values | changed, outcomes, arguments | later)


def test_every_credential_can_be_supplied_and_reaches_the_outputs(canary_stack: CanaryStack) -> None:
    credentials = canary_stack.stack.outputs().credentials
    supplied = {
        "postgresPassword": credentials.postgres["postgres"],
        "postgresBackupPassword": credentials.postgres["pti_backup"],
        "redisPassword": credentials.redis,
        "jwtSecret": credentials.jwt_secret,
        "pgAdminPassword": credentials.pg_admin,
    }
    for service in SERVICES:
        supplied[f"{service.name}AppPassword"] = credentials.postgres[f"{service.database}_app"]
        supplied[f"{service.name}MigratorPassword"] = credentials.postgres[f"{service.database}_migrator"]
    assert supplied == canary_stack.values
    assert supplied.keys() == USED_SECRETS


def test_each_password_is_accepted_at_login(canary_stack: CanaryStack) -> None:
    stores = Stores(canary_stack.stack.outputs())
    for service in SERVICES:
        for role in ("app", "migrator"):
            stores.connect(f"{service.database}_{role}", service.database).close()
    stores.connect("pti_backup").close()
    assert stores.redis("PING") == "PONG"


def test_another_password_is_refused(canary_stack: CanaryStack) -> None:
    outputs = canary_stack.stack.outputs()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(
            host=outputs.postgres.host,
            port=outputs.postgres.port,
            dbname="pti_user",
            user="pti_user_app",
            password=canaries()["userAppPassword"],  # The value before the change.
        )


def test_no_command_shows_a_credential(canary_stack: CanaryStack) -> None:
    shown = {name: outcome.output for name, outcome in canary_stack.outcomes.items()}
    shown |= {f"event log of {name}": outcome.events() for name, outcome in canary_stack.outcomes.items()}
    shown["stack export"] = json.dumps(canary_stack.stack.export())
    shown["stack output"] = canary_stack.stack.shown_outputs()
    assert {name: found for name, text in shown.items() if (found := found_in(text))} == {}
    assert "[secret]" in shown["stack output"]


def test_no_file_of_the_state_contains_a_credential(canary_stack: CanaryStack) -> None:
    """This covers the state itself, its history and its backups, and the configuration."""
    assert found_below(canary_stack.stack.state) == {}
    assert found_in(canary_stack.stack.config_file.read_text()) == set()


def test_no_process_has_a_credential_in_its_arguments(canary_stack: CanaryStack) -> None:
    assert any("pulumi" in line for line in canary_stack.arguments)
    assert {line for line in canary_stack.arguments if found_in(line)} == set()


def test_the_engine_shows_no_credential(canary_stack: CanaryStack) -> None:
    name = canary_stack.stack.name
    texts = {"volumes": json.dumps(docker_engine.volumes(name)), "networks": json.dumps(docker_engine.networks(name))}
    for container in docker_engine.containers(name):
        texts[container["Name"]] = json.dumps(container)
        texts[f"logs of {container['Name']}"] = docker("logs", container["Id"])
    assert len(texts) > 30
    assert {what: found for what, text in texts.items() if (found := found_in(text))} == {}


def test_each_credential_is_only_in_the_volumes_that_need_it(canary_stack: CanaryStack) -> None:
    """Every volume is searched, including the stores' data."""
    found = found_in_volumes(canary_stack.stack.name)
    prefixes = {name: next((one for one in REQUIRED_SECRETS if name.startswith(f"pti-{one}-")), name) for name in found}
    assert {prefixes[name]: keys for name, keys in found.items()} == REQUIRED_SECRETS


def test_no_container_has_an_anonymous_volume(canary_stack: CanaryStack) -> None:
    assert docker_engine.anonymous_volumes(canary_stack.stack.name) == []

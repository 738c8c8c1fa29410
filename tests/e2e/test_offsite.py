"""Everything is lost but the off-site repository and its password: a new stack gets the rows back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from settings import NAMESPACE
from tests.artifacts.offsite_repositories import needs_sshd, sftp_server, sftp_user
from tests.e2e.clone import Clone
from tests.e2e.monitored_stack import engine_address
from tests.e2e.person import PASSPHRASE, Person
from tests.e2e.test_backups import DATABASE, OTHER, rows, write
from tests.engine import docker_engine
from tests.engine.docker_engine import docker
from tests.failures import FailureRecord

pytestmark = needs_sshd


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The settings of a repository on an SFTP server outside the engine."""
    address = engine_address()
    with sftp_server(tmp_path, address) as (port, host_key):
        yield {
            "enabled": True,
            # It isn't due during the test.
            "schedule": "0 4 29 2 *",
            "repository": f"sftp://{sftp_user()}@{address}:{port}/{tmp_path}/repository",
            "hostKeys": [host_key],
        }


@pytest.fixture
def machines(installed: Clone, tmp_path: Path) -> Iterator[list[Person]]:
    """A machine, and the one that replaces it: two stacks with states and passphrases of their own."""
    people = []
    for number in ("first", "second"):
        state = tmp_path / f"state of the {number}".replace(" ", "-")
        state.mkdir()
        passphrase = {"PULUMI_CONFIG_PASSPHRASE": f"of the {number}"}
        people.append(Person(installed, PASSPHRASE | passphrase | {"PULUMI_BACKEND_URL": f"file://{state}"}))
    try:
        yield people
    finally:
        for person in people:
            docker_engine.remove_everything(person.stack)


def configure(person: Person, offsite: dict[str, Any], secrets: dict[str, str]) -> None:
    """Configure a stack with backups and off-site copies. Its passwords are generated, unless given."""
    file = person.clone.root / f"Pulumi.{person.stack}.yaml"
    document = yaml.safe_load(file.read_text())
    document["config"] |= {
        "pulumi:disable-default-providers": ["docker"],
        f"{NAMESPACE}:credentials": "generated",
        f"{NAMESPACE}:backups": {"enabled": True, "schedule": "0 3 29 2 *", "offsite": offsite},
    }
    file.write_text(yaml.safe_dump(document))
    person.types(f"pulumi stack select --create {person.stack}").succeeded()
    for key, value in secrets.items():
        person.types(f"pulumi config set --secret {NAMESPACE}:{key} --stack {person.stack}", typed=value).succeeded()


def test_a_new_stack_restores_from_the_repository_and_its_password(
    machines: list[Person], repository: dict[str, Any], tmp_path: Path, failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "Everything is lost but the off-site repository and its password",
        on="Docker",
        effect="a new stack restores the newest copy",
    )
    lost, new = machines
    ssh_key = (tmp_path / "key").read_text()
    configure(lost, repository, {"offsiteSshKey": ssh_key})
    lost.operates("up").succeeded()
    lost.types(f"pulumi preview --expect-no-changes --stack {lost.stack}").succeeded()
    for database in (DATABASE, OTHER):
        write(lost, database, "kept")
    assert "complete" in lost.operates("backup").succeeded().output
    assert "initialised" in lost.operates("offsite").succeeded().output
    for database in (DATABASE, OTHER):
        write(lost, database, "after the copy")
    password = lost.operates("offsite", "password").succeeded().output.splitlines()[0]
    for shown in (
        docker("inspect", f"pti-offsite-{lost.stack}"),
        lost.types(f"pulumi stack export --stack {lost.stack}").succeeded().output,
        docker("logs", f"pti-offsite-{lost.stack}"),
    ):
        assert password not in shown
        assert ssh_key.splitlines()[1] not in shown
    docker_engine.remove_everything(lost.stack)

    with failure_record.measure_recovery():
        secrets = {"offsiteSshKey": ssh_key, "offsitePassword": password}
        configure(new, {**repository, "allowFetch": True}, secrets)
        new.operates("up").succeeded()
        [name] = re.findall(
            r"^(\d{8}T\d{6}Z)  \d+ bytes", new.operates("backups", "list", "--offsite").succeeded().output, re.M
        )
        new.operates("restore", "--all", "--from-offsite", name, "--yes").succeeded()
    assert (rows(new, DATABASE), rows(new, OTHER)) == (["kept"], ["kept"])
    failure_record.set_lost("what was written after the copied backup, and every credential but one")
    assert f"{name}  sound" in new.operates("backups", "verify").succeeded().output
    # The stack goes on as before: its own backups follow the fetched one into the same repository.
    new.operates("backup").succeeded()
    new.operates("offsite").succeeded()
    assert len(re.findall(r" bytes ", new.operates("backups", "list", "--offsite").succeeded().output)) == 2

"""The upgrade of PostgreSQL to another major version on the Docker engine, from the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from settings import NAMESPACE
from testbed.images.build import ensure
from tests.e2e.clone import Clone
from tests.e2e.person import PASSPHRASE, Person
from tests.engine import docker_engine
from tests.engine.stores import Stores
from tests.failures import FailureRecord

OLD, NEW = "postgres:17.11", "postgres:18.6"
DATABASES = ("pti_user", "pti_rdv")

pytestmark = pytest.mark.restarts("an upgrade restarts the server for its dump")


@pytest.fixture
def person(installed: Clone, tmp_path: Path) -> Iterator[Person]:
    """A person whose stack with PostgreSQL 17 and backups is up."""
    ensure([OLD])
    state = tmp_path / "state"
    state.mkdir()
    made = Person(installed, PASSPHRASE | {"PULUMI_BACKEND_URL": f"file://{state}"})
    file = installed.root / f"Pulumi.{made.stack}.yaml"
    document = yaml.safe_load(file.read_text())
    # It isn't due during the test.
    document["config"][f"{NAMESPACE}:backups"] = {"enabled": True, "schedule": "0 3 29 2 *"}
    document["config"][f"{NAMESPACE}:postgres"]["image"] = OLD
    file.write_text(yaml.safe_dump(document))
    try:
        made.operates("up").succeeded()
        yield made
    finally:
        docker_engine.remove_everything(made.stack)


def test_the_data_is_upgraded_from_the_command_line(person: Person, failure_record: FailureRecord) -> None:
    failure_record.begin("PostgreSQL is upgraded from 17 to 18", on="Docker", effect="services get no connection")
    write(person, "old")

    # Another image alone is refused before anything changes.
    set_keys(person, image=NEW)
    refused = person.operates("up").failed()
    assert "can't change from 'PostgreSQL 17' to 'PostgreSQL 18'" in refused.output
    assert "docs/store-upgrades.md" in refused.output
    set_keys(person, image=OLD)

    command = ("upgrade", "postgres", "--image", NEW)
    person.operates(*command, typed="no\n").failed()
    assert version(person) == 17
    failure_record.mark_failure()
    upgraded = person.operates(*command, typed=f"{person.stack}\n").succeeded()
    failure_record.mark_recovery()
    print(upgraded.output)
    assert re.search(r"backup \d{8}T\d{6}Z: complete", upgraded.output)
    assert "dumped 18" in upgraded.output
    assert (version(person), rows(person)) == (18, ["old"])
    failure_record.set_lost("nothing")
    write(person, "newer")
    person.operates("backup").succeeded()


def set_keys(person: Person, **keys: str) -> None:
    """Set keys of the section `postgres`."""
    for key, value in keys.items():
        person.types(f"pulumi config set --path {NAMESPACE}:postgres.{key} {value} --stack {person.stack}").succeeded()


def write(person: Person, mark: str) -> None:
    """Write a row into each database."""
    for database in DATABASES:
        with Stores(person.outputs()).connect(database=database) as session:
            session.execute("CREATE TABLE IF NOT EXISTS kept (mark text)")
            session.execute("INSERT INTO kept VALUES (%s)", [mark])


def rows(person: Person) -> list[str]:
    """Return the rows, which must be the same in each database."""
    found = []
    for database in DATABASES:
        with Stores(person.outputs()).connect(database=database) as session:
            found.append([str(mark) for (mark,) in session.execute("SELECT mark FROM kept ORDER BY 1").fetchall()])
    assert found[0] == found[1]
    return found[0]


def version(person: Person) -> int:
    """Return the server's major version."""
    with Stores(person.outputs()).connect(database="postgres") as session:
        return session.info.server_version // 10000

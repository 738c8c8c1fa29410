"""Backups of a small stack on the Docker engine, from the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from settings import NAMESPACE
from tests.e2e.clone import Clone
from tests.e2e.person import PASSPHRASE, Person
from tests.engine import docker_engine
from tests.engine.stores import Stores
from tests.failures import FailureRecord

DATABASE, OTHER = "pti_user", "pti_rdv"


@pytest.fixture
def person(installed: Clone, tmp_path: Path) -> Iterator[Person]:
    """A person whose stack with backups is up."""
    state = tmp_path / "state"
    state.mkdir()
    made = Person(installed, PASSPHRASE | {"PULUMI_BACKEND_URL": f"file://{state}"})
    file = installed.root / f"Pulumi.{made.stack}.yaml"
    document = yaml.safe_load(file.read_text())
    # They aren't due during the test.
    never = "0 3 29 2 *"
    drill = {"enabled": True, "schedule": never}
    document["config"][f"{NAMESPACE}:backups"] = {"enabled": True, "schedule": never, "drill": drill}
    file.write_text(yaml.safe_dump(document))
    try:
        made.operates("up").succeeded()
        yield made
    finally:
        docker_engine.remove_everything(made.stack)


def test_a_database_gets_the_rows_of_its_backup_back(person: Person, failure_record: FailureRecord) -> None:
    failure_record.begin("Rows are deleted by mistake", on="Docker", effect="a restore brings back those of the backup")
    for database in (DATABASE, OTHER):
        write(person, database, "old")
    assert "complete" in person.operates("backup").succeeded().output
    [name] = re.findall(r"^(\d{8}T\d{6}Z)  PostgreSQL", person.operates("backups", "list").succeeded().output, re.M)
    assert f"{name}  sound" in person.operates("backups", "verify").succeeded().output
    for database in (DATABASE, OTHER):
        write(person, database, "newer")

    person.operates("restore", "--database", DATABASE, typed="no\n").failed()
    assert rows(person, DATABASE) == ["newer", "old"]
    person.operates("restore", "--all", "--rehearse").succeeded()
    assert f"backup {name}: restored into a temporary server" in person.operates("backups", "drill").succeeded().output
    assert rows(person, DATABASE) == ["newer", "old"]

    with failure_record.measure_recovery():
        restored = person.operates("restore", "--database", DATABASE, typed=f"{name}\n").succeeded()
    assert '"public.kept": 1 rows in the backup, 2 rows now' in restored.output
    assert (rows(person, DATABASE), rows(person, OTHER)) == (["old"], ["newer", "old"])
    failure_record.set_lost("what was written after the backup")

    assert "replaced_" in person.operates("restore", "--drop-replaced", typed=f"{person.stack}\n").succeeded().output
    destroyed = person.operates("destroy", typed=f"{person.stack}\n").succeeded().output
    assert f"  pti-postgres-data-{person.stack}\n" in destroyed
    person.operates("up").succeeded()
    assert name in person.operates("backups", "list").succeeded().output
    assert (rows(person, DATABASE), rows(person, OTHER)) == (["old"], ["newer", "old"])


def test_a_wipe_takes_a_last_backup_that_brings_the_rows_back(person: Person, failure_record: FailureRecord) -> None:
    effect = "the backups stay: the next `up` and a restore bring the rows of the last one back"
    failure_record.begin("The stack is wiped by mistake", on="Docker", effect=effect)
    write(person, DATABASE, "last")
    wiped = person.operates("wipe", typed=f"\n{person.stack}\n").succeeded().output
    assert ": complete, " in wiped
    # The other one has the times of its runs.
    kept = {f"pti-backup-{what}-{person.stack}" for what in ("data", "runs")}
    assert docker_engine.persistent_volumes(person.stack) == kept
    with failure_record.measure_recovery():
        person.operates("up").succeeded()
        [name] = re.findall(r"^(\d{8}T\d{6}Z)  PostgreSQL", person.operates("backups", "list").succeeded().output, re.M)
        person.operates("restore", "--all", "--from", name, "--yes").succeeded()
    assert rows(person, DATABASE) == ["last"]
    failure_record.set_lost("what Redis and Kafka contained")

    person.operates("wipe", "--delete-backups", typed=f"{person.stack}\n").succeeded()
    assert docker_engine.volumes(person.stack) == []


def write(person: Person, database: str, mark: str) -> None:
    """Write a row."""
    with Stores(person.outputs()).connect(database=database) as session:
        session.execute("CREATE TABLE IF NOT EXISTS kept (mark text)")
        # As after a migration. The drill's audit reports a table of the superuser.
        session.execute(f"ALTER TABLE kept OWNER TO {database}_owner")
        session.execute("INSERT INTO kept VALUES (%s)", [mark])


def rows(person: Person, database: str) -> list[str]:
    """Return the rows."""
    with Stores(person.outputs()).connect(database=database) as session:
        return [str(mark) for (mark,) in session.execute("SELECT mark FROM kept ORDER BY 1").fetchall()]

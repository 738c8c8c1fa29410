"""Recovery to a point in time of a small stack on the Docker engine, from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from settings import NAMESPACE
from tests.e2e.clone import Clone
from tests.e2e.person import PASSPHRASE, Person
from tests.e2e.test_backups import DATABASE, OTHER, rows, write
from tests.engine import docker_engine
from tests.engine.waiting import until
from tests.failures import FailureRecord


@pytest.fixture
def person(installed: Clone, tmp_path: Path) -> Iterator[Person]:
    """A person whose stack with an archive is up."""
    state = tmp_path / "state"
    state.mkdir()
    made = Person(installed, PASSPHRASE | {"PULUMI_BACKEND_URL": f"file://{state}"})
    file = installed.root / f"Pulumi.{made.stack}.yaml"
    document = yaml.safe_load(file.read_text())
    # Neither is due during the test.
    schedule = "0 3 29 2 *"
    archive = {"enabled": True, "schedule": schedule}
    document["config"][f"{NAMESPACE}:backups"] = {"enabled": True, "schedule": schedule, "pointInTime": archive}
    file.write_text(yaml.safe_dump(document))
    try:
        made.operates("up").succeeded()
        yield made
    finally:
        docker_engine.remove_everything(made.stack)


def test_a_database_gets_the_rows_of_the_moment_before_a_mistake_back(
    person: Person, failure_record: FailureRecord
) -> None:
    effect = "a recovery brings back every row of the moment before"
    failure_record.begin("Rows are deleted by mistake, with an archive", on="Docker", effect=effect)
    until("there is a base backup", lambda: points(person))
    for database in (DATABASE, OTHER):
        write(person, database, "old")
    before = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for database in (DATABASE, OTHER):
        write(person, database, "mistake")

    recovered = person.operates("recover", "--to", before, "--database", DATABASE, typed="\n").failed()
    assert '"public.kept": 1 rows in the backup, 2 rows now' in recovered.output
    assert rows(person, DATABASE) == ["mistake", "old"]
    with failure_record.measure_recovery():
        person.operates("recover", "--to", before, "--database", DATABASE, "--yes").succeeded()
    failure_record.set_lost("what was written after that moment")
    assert (rows(person, DATABASE), rows(person, OTHER)) == (["old"], ["mistake", "old"])

    assert "complete and verified" in person.operates("backup", "--base").succeeded().output
    assert len(points(person)) == 2
    person.operates("points", "--verify").succeeded()
    person.operates("destroy", typed=f"{person.stack}\n").succeeded()
    person.operates("up").succeeded()
    assert len(points(person)) == 2
    assert (rows(person, DATABASE), rows(person, OTHER)) == (["old"], ["mistake", "old"])


def points(person: Person) -> list[dict[str, object]]:
    """Return the recoverable times."""
    output = person.operates("points", "--json").succeeded().output
    [line] = re.findall(r"^\[.*\]$", output, re.M)
    found: list[dict[str, object]] = json.loads(line)
    return found

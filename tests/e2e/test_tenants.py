"""Audit, export and erasure of tenants of a small stack on the Docker engine, from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from settings import NAMESPACE
from tests.e2e.clone import Clone, Outcome
from tests.e2e.person import PASSPHRASE, Person
from tests.engine import docker_engine
from tests.engine.stores import Stores

DATABASE = "pti_rdv"
NORTH, SOUTH = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
NEVER = "0 3 29 2 *"
"""A schedule that isn't due during the test."""


@pytest.fixture
def person(installed: Clone, tmp_path: Path) -> Iterator[Person]:
    """A person whose stack with the task for tenants, and with backups, is up."""
    state = tmp_path / "state"
    state.mkdir()
    made = Person(installed, PASSPHRASE | {"PULUMI_BACKEND_URL": f"file://{state}"})
    file = installed.root / f"Pulumi.{made.stack}.yaml"
    document = yaml.safe_load(file.read_text())
    document["config"][f"{NAMESPACE}:backups"] = {"enabled": True, "schedule": NEVER}
    document["config"][f"{NAMESPACE}:tenants"] = {"enabled": True, "auditSchedule": NEVER}
    file.write_text(yaml.safe_dump(document))
    try:
        made.operates("up").succeeded()
        with Stores(made.outputs()).connect(f"{DATABASE}_migrator", DATABASE) as migrator:
            migrator.execute("CREATE TABLE visit (tenant_id uuid NOT NULL, patient text)")
        with Stores(made.outputs()).connect(database=DATABASE) as admin:
            admin.execute("INSERT INTO visit VALUES (%s, 'Anna'), (%s, 'Bruno')", [NORTH, SOUTH])
        yield made
    finally:
        docker_engine.remove_everything(made.stack)


def tenants(person: Person, action: str, *options: str, typed: str = "") -> Outcome:
    command = (".venv/bin/python -m operations tenants", action, "--stack", person.stack, *options)
    return person.types(" ".join(command), typed)


def patients(person: Person) -> list[str]:
    with Stores(person.outputs()).connect(database=DATABASE) as admin:
        return [str(name) for (name,) in admin.execute("SELECT patient FROM visit ORDER BY 1").fetchall()]


def test_the_audit_fails_while_there_is_a_finding(person: Person) -> None:
    assert f"audit {DATABASE}: no findings" in tenants(person, "audit").succeeded().output
    with Stores(person.outputs()).connect(database=DATABASE) as admin:
        admin.execute("CREATE TABLE stray (id int)")
        assert f"audit {DATABASE}: public.stray: belongs to postgres" in tenants(person, "audit").failed().output
        admin.execute("DROP TABLE stray")
    tenants(person, "audit").succeeded()


def test_a_tenant_is_exported_and_stays_erased_after_a_restore(person: Person, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    tenants(person, "export", NORTH, "--to", str(folder)).succeeded()
    exported = (folder / DATABASE / "public.visit.jsonl").read_text()
    assert json.loads(exported) == {"tenant_id": NORTH, "patient": "Anna"}

    person.operates("backup").succeeded()
    assert "1 rows" in tenants(person, "erase", NORTH, typed="no\n").failed().output
    assert patients(person) == ["Anna", "Bruno"]
    tenants(person, "erase", NORTH, typed=f"{NORTH}\n").succeeded()
    assert patients(person) == ["Bruno"]

    name = only_backup(person)
    assert "was erased" in tenants(person, "restore", NORTH, "--from", name).failed().output
    person.operates("restore", "--all", "--from", name, "--yes").succeeded()
    assert patients(person) == ["Bruno"]
    # The list itself survives another restore.
    person.operates("restore", "--all", "--from", name, "--yes").succeeded()
    assert patients(person) == ["Bruno"]


def test_one_tenants_rows_come_back_from_a_backup(person: Person) -> None:
    person.operates("backup").succeeded()
    name = only_backup(person)
    with Stores(person.outputs()).connect(database=DATABASE) as admin:
        admin.execute("UPDATE visit SET patient = patient || ' (changed)'")
    refused = tenants(person, "restore", NORTH, "--from", name, typed="no\n").failed()
    assert "public.visit: 1 rows now, 1 in the backup; 1 of those now are newer or were changed" in refused.output
    assert patients(person) == ["Anna (changed)", "Bruno (changed)"]
    tenants(person, "restore", NORTH, "--from", name, typed=f"{NORTH}\n").succeeded()
    assert patients(person) == ["Anna", "Bruno (changed)"]
    dropped = person.operates("restore", "--drop-replaced", typed=f"{person.stack}\n").succeeded().output
    assert f"database {DATABASE}: schema replaced_" in dropped


def only_backup(person: Person) -> str:
    """Return the name of the only backup."""
    [name] = re.findall(r"^(\d{8}T\d{6}Z)  PostgreSQL", person.operates("backups", "list").succeeded().output, re.M)
    return str(name)

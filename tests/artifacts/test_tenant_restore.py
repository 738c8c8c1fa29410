"""One tenant's rows come back from a backup, without a change of any other row."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import TupleRow

from tests.artifacts.backup_scripts import Backups, backups_of, kill
from tests.artifacts.postgres_server import Installation, running_server
from tests.artifacts.provisioning_task import Outcome
from tests.artifacts.test_backup import sessions_of, wait_for
from tests.artifacts.test_tenants import ODD_TEXT, TABLES
from tests.artifacts.versions import on_the_newest_server
from tests.full_run import only_in_full_runs

pytestmark = only_in_full_runs

RDV, USER = "pti_rdv", "pti_user"
NORTH, SOUTH = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
ODD = '"Odd ""names"": é"."a\\b\n\'c\'"'

MORE = """
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE TABLE note (
        tenant_id uuid NOT NULL, id serial, about mood, body json, tags text[],
        length int GENERATED ALWAYS AS (cardinality(tags)) STORED, PRIMARY KEY (tenant_id, id));
    CREATE TABLE history (tenant_id uuid NOT NULL, what text);
    CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO history VALUES (coalesce(NEW.tenant_id, OLD.tenant_id), TG_OP); RETURN NULL; END $$;
    CREATE TRIGGER history AFTER INSERT OR UPDATE OR DELETE ON note FOR EACH ROW EXECUTE FUNCTION changed();
    CREATE TRIGGER history AFTER INSERT OR UPDATE OR DELETE ON visit FOR EACH ROW EXECUTE FUNCTION changed();
    CREATE TRIGGER unused AFTER INSERT ON note FOR EACH ROW EXECUTE FUNCTION changed();
    ALTER TABLE note DISABLE TRIGGER unused, ENABLE ALWAYS TRIGGER history;
    CREATE POLICY recent ON note AS RESTRICTIVE FOR SELECT USING (id > 1);
    ALTER TABLE patient ADD CONSTRAINT late FOREIGN KEY (tenant_id, doctor) REFERENCES doctor (tenant_id, id)
        DEFERRABLE INITIALLY DEFERRED;
"""


@pytest.fixture(scope="module")
def provisioned_server(installation: Installation) -> Iterator[Backups]:
    """Two provisioned databases with tables that refer to each other, on a server of their own."""
    with running_server(installation) as server, backups_of(server, RDV, USER) as backups:
        for database in (RDV, USER):
            with backups.task.connect(database, f"{database}_migrator") as migrator:
                migrator.execute(TABLES.encode())
                migrator.execute(MORE.encode())
        yield backups


@pytest.fixture
def backups(provisioned_server: Backups) -> Iterator[Backups]:
    """Two tenants with rows in both databases, and no backup yet."""
    for database in (RDV, USER):
        with provisioned_server.server.connect(database) as admin:
            admin.execute("TRUNCATE doctor, person, note, history, country, tenancy.erased CASCADE")
            admin.execute(f"TRUNCATE {ODD}".encode())
            for tenant in (NORTH, SOUTH):
                add_rows(admin, tenant, "old")
    yield provisioned_server
    shutil.rmtree(provisioned_server.directory, ignore_errors=True)
    provisioned_server.environment.clear()
    (provisioned_server.directory.parent / "erased-tenants").unlink(missing_ok=True)
    with provisioned_server.server.connect() as admin:
        for (name,) in admin.execute(
            "SELECT datname FROM pg_database WHERE datname ~ '^(restoring|replaced)_'"
        ).fetchall():
            admin.execute(f"DROP DATABASE {name}".encode())
    for database in (RDV, USER):
        with provisioned_server.server.connect(database) as admin:
            for schema in kept(admin):
                admin.execute(f"DROP SCHEMA {schema} CASCADE".encode())


def add_rows(session: psycopg.Connection[TupleRow], tenant: str, mark: str) -> None:
    """Insert rows that refer to each other, also in a circle, in every kind of table."""
    with session.transaction():
        (doctor,) = (
            session.execute(
                "INSERT INTO doctor (tenant_id, name, photo) VALUES (%s, %s, %s) RETURNING id",
                [tenant, mark, b"\0\xff"],
            ).fetchone()
            or ()
        )
        session.execute("UPDATE doctor SET deputy = id WHERE tenant_id = %s", [tenant])
        (patient,) = (
            session.execute(
                "INSERT INTO patient (tenant_id, name, doctor) VALUES (%s, %s, %s) RETURNING id", [tenant, mark, doctor]
            ).fetchone()
            or ()
        )
        for day in ("2025-03-01", "2026-03-01"):
            session.execute("INSERT INTO visit VALUES (%s, %s, %s, %s)", [tenant, day, doctor, patient])
        session.execute("UPDATE patient SET main_day = '2026-03-01', main_visit = %s WHERE id = %s", [doctor, patient])
        session.execute("INSERT INTO person VALUES (%s, %s)", [tenant, mark])
        session.execute("INSERT INTO employee VALUES (%s, %s, 1234.50)", [tenant, mark])
        session.execute(f"INSERT INTO {ODD} VALUES (%s, %s)".encode(), [tenant, ODD_TEXT])  # noqa: S608
        session.execute(
            "INSERT INTO note (tenant_id, about, body, tags) VALUES (%s, 'good', '{\"b\": 1, \"a\": 2}', %s)",
            [tenant, [mark, None, 'x,"y']],
        )


def rows(backups: Backups, database: str, tenant: str) -> dict[str, list[str]]:
    """Return the tenant's rows in each table with its own storage, without those that a restore has replaced."""
    with backups.server.connect(database) as admin:
        tables = admin.execute(
            "SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE relkind = 'r' AND nspname !~ '^(pg_|replaced_|information_schema|tenancy)' AND EXISTS (SELECT FROM"
            " pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id') ORDER BY 1"
        ).fetchall()
        return {
            table: [
                row
                for (row,) in admin.execute(
                    f"SELECT t::text FROM ONLY {table} t WHERE tenant_id = %s ORDER BY 1".encode(),  # noqa: S608
                    [tenant],
                ).fetchall()
            ]
            for (table,) in tables
        }


def everything(backups: Backups, tenant: str) -> list[dict[str, list[str]]]:
    return [rows(backups, database, tenant) for database in (RDV, USER)]


def restore(backups: Backups, name: str, *options: str, tenant: str = NORTH) -> Outcome:
    return backups.run("restore_tenant.sh", tenant, "--from", name, *options)


def kept(session: psycopg.Connection[TupleRow]) -> list[str]:
    found = session.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^replaced_' ORDER BY 1").fetchall()
    return [str(name) for (name,) in found]


def copies(backups: Backups) -> list[str]:
    with backups.server.connect() as admin:
        return [
            name
            for (name,) in admin.execute("SELECT datname FROM pg_database WHERE datname ~ '^restoring_'").fetchall()
        ]


def change(backups: Backups) -> None:
    """Change, delete and add rows of both tenants after the backup."""
    for database in (RDV, USER):
        with backups.server.connect(database) as admin:
            for tenant in (NORTH, SOUTH):
                add_rows(admin, tenant, "newer")
                admin.execute("UPDATE doctor SET name = 'changed' WHERE tenant_id = %s AND name = 'old'", [tenant])
                admin.execute("DELETE FROM note WHERE tenant_id = %s AND 'old' = ANY (tags)", [tenant])


def triggers(backups: Backups) -> list[tuple[object, ...]]:
    with backups.server.connect(RDV) as admin:
        return admin.execute(
            "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger ORDER BY 1, 2"
        ).fetchall()


def test_one_tenants_rows_come_back_and_the_others_stay(backups: Backups) -> None:
    old = everything(backups, NORTH)
    name = backups.back_up()
    change(backups)
    newer, others, enabled = everything(backups, NORTH), everything(backups, SOUTH), triggers(backups)

    planned = restore(backups, name)
    assert (planned.status, planned.errors) == (0, "")
    line = "public.doctor: 2 rows now, 1 in the backup; 2 of those now are newer or were changed"
    assert f"database {RDV}: {line}" in planned.output
    assert "public.note: 1 rows now, 1 in the backup; 1 of those now" in planned.output
    assert everything(backups, NORTH) == newer
    assert len(copies(backups)) == 2

    outcome = restore(backups, name, "--confirm", NORTH)
    assert (outcome.status, outcome.errors) == (0, "")
    assert "restoring_pti_rdv is a complete copy already" in outcome.output
    assert everything(backups, NORTH) == old
    assert everything(backups, SOUTH) == others
    assert triggers(backups) == enabled
    assert copies(backups) == []
    # Provisioning and audit find nothing to correct, also about the kept rows.
    provisioned = backups.task.run()
    assert (provisioned.status, provisioned.errors) == (0, "")
    assert [line for line in provisioned.output.splitlines() if line.startswith("audit")] == [
        f"audit {database}: no findings" for database in (RDV, USER)
    ]

    with backups.server.connect(RDV) as admin:
        [schema] = kept(admin)
        [(table,)] = admin.execute(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = %s::regnamespace"
            " AND obj_description(c.oid) LIKE 'Rows of public.doctor that backup %%'",
            [schema],
        ).fetchall()
        names = admin.execute(f"SELECT name FROM {table} ORDER BY 1".encode()).fetchall()  # noqa: S608
        assert names == [("changed",), ("newer",)]
    with backups.task.connect(RDV, f"{RDV}_app") as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(f"SELECT FROM {table}".encode())
    # The kept rows don't prevent another restore, and are neither in its plan nor replaced.
    again = restore(backups, backups.back_up(), "--confirm", NORTH)
    assert (again.status, again.errors) == (0, "")
    assert everything(backups, NORTH) == old
    dropped = backups.run("restore.sh", "--drop-replaced")
    assert f"database {RDV}: schema {schema} dropped\n" in dropped.output
    with backups.server.connect(RDV) as admin:
        assert kept(admin) == []


@on_the_newest_server
def test_an_erasure_reaches_the_kept_rows_and_the_tenant_does_not_come_back(backups: Backups) -> None:
    for database in (RDV, USER):
        with backups.server.connect(database) as admin:
            # On a new server, the policy `recent` hides the first note from an erasure, which then fails.
            admin.execute("UPDATE note SET id = id + 1")
    name = backups.back_up()
    assert restore(backups, name, "--confirm", NORTH, "--database", RDV).status == 0
    erased = backups.run("tenants.sh", "erase", NORTH, "--confirm", NORTH)
    assert erased.status == 0, erased
    with backups.server.connect(RDV) as admin:
        [schema] = kept(admin)
        counted = admin.execute("SELECT name, number FROM tenancy.count_rows(%s::uuid[])", [[NORTH]]).fetchall()
        assert {number for _, number in counted} == {0}
        assert any(name.startswith(schema) for name, _ in counted)
    refused = restore(backups, name, "--confirm", NORTH)
    assert refused.status == 1
    assert f"{NORTH} was erased" in refused.errors


DIFFERENCES = {
    "dropped table": ("ALTER TABLE note RENAME TO remark", "public.note: 1 rows in the backup, but no such table"),
    "new table": ("", "public.remark: 1 rows now, but no such table in the backup"),
    "dropped column": (
        "ALTER TABLE note DROP about",
        "public.note: column about was public.mood in the backup, and is missing",
    ),
    "changed type": (
        "ALTER TABLE note ALTER body TYPE jsonb",
        "public.note: column body was json in the backup, and is jsonb",
    ),
    "required column": (
        "ALTER TABLE person ADD age int NOT NULL DEFAULT 1; ALTER TABLE person ALTER age DROP DEFAULT",
        "public.person: column age is required now",
    ),
    "reference": (
        "CREATE TABLE bill (d bigint, t uuid, FOREIGN KEY (t, d) REFERENCES doctor (tenant_id, id) ON DELETE CASCADE);"
        "INSERT INTO bill SELECT id, tenant_id FROM doctor",
        "bill: 1 rows that are not the tenant's refer to its rows",
    ),
}


@on_the_newest_server
@pytest.mark.parametrize("what", DIFFERENCES)
def test_a_difference_that_would_lose_rows_is_refused(backups: Backups, what: str) -> None:
    statement, reason = DIFFERENCES[what]
    statement = statement or DIFFERENCES["dropped table"][0]
    name = backups.back_up()
    with backups.server.connect(RDV) as admin:
        admin.execute(statement.encode())
    before = rows(backups, RDV, NORTH)
    outcome = restore(backups, name, "--confirm", NORTH, "--database", RDV)
    assert outcome.status == 1
    assert reason in outcome.errors
    assert rows(backups, RDV, NORTH) == before
    assert backups.restore(name, RDV).status == 0


@on_the_newest_server
def test_what_another_tenant_has_taken_meanwhile_is_reported_and_nothing_changes(backups: Backups) -> None:
    with backups.server.connect(RDV) as admin:
        admin.execute("CREATE UNIQUE INDEX one_name ON person (name) WHERE name = 'unique'")
        admin.execute("UPDATE ONLY person SET name = 'unique' WHERE tenant_id = %s", [NORTH])
        name = backups.back_up()
        admin.execute("UPDATE ONLY person SET name = 'other' WHERE tenant_id = %s", [NORTH])
        admin.execute("UPDATE ONLY person SET name = 'unique' WHERE tenant_id = %s", [SOUTH])
        before = everything(backups, NORTH)
        outcome = restore(backups, name, "--confirm", NORTH)
        admin.execute("DROP INDEX one_name")
        assert outcome.status == 1
        assert 'duplicate key value violates unique constraint "one_name"' in outcome.errors
        assert "Nothing has been changed in pti_rdv." in outcome.errors
        assert everything(backups, NORTH) == before
        assert kept(admin) == []
        assert restore(backups, name, "--discard").status == 0
    assert copies(backups) == []


@on_the_newest_server
def test_writers_wait_and_a_session_that_holds_a_lock_too_long_fails_it(backups: Backups) -> None:
    name = backups.back_up()
    change(backups)
    before = everything(backups, NORTH)
    with backups.server.connect(RDV) as writer, writer.transaction():
        writer.execute("UPDATE doctor SET name = 'unfinished' WHERE tenant_id = %s", [SOUTH])
        outcome = restore(backups, name, "--confirm", NORTH, "--database", RDV)
    assert outcome.status == 1
    assert "canceling statement due to lock timeout" in outcome.errors
    assert everything(backups, NORTH) == before


@on_the_newest_server
def test_a_tenant_that_is_erased_meanwhile_does_not_come_back(backups: Backups) -> None:
    name = backups.back_up()
    assert restore(backups, name).status == 0
    with backups.server.connect(RDV) as writer:
        with writer.transaction():
            writer.execute("UPDATE doctor SET name = 'unfinished' WHERE tenant_id = %s", [SOUTH])
            process = backups.start("restore_tenant.sh", NORTH, "--from", name, "--confirm", NORTH, "--database", RDV)
            with backups.server.connect() as admin:
                wait_for(
                    lambda: bool(
                        admin.execute(
                            "SELECT FROM pg_stat_activity WHERE application_name = 'pti-tenant-restore'"
                            " AND wait_event_type = 'Lock'"
                        ).fetchall()
                    )
                )
            with backups.server.connect(RDV) as eraser:
                eraser.execute("SELECT tenancy.record_erasure(%s, now(), NULL)", [NORTH])
        before = everything(backups, NORTH)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{NORTH} was erased meanwhile" in errors
    assert everything(backups, NORTH) == before


@on_the_newest_server
@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_restore_can_be_run_again(backups: Backups, seed: int) -> None:
    old, others = everything(backups, NORTH), everything(backups, SOUTH)
    name = backups.back_up()
    for database in (RDV, USER):
        with backups.server.connect(database) as admin:
            admin.execute("UPDATE doctor SET name = 'newer' WHERE tenant_id = %s", [NORTH])
    newer = everything(backups, NORTH)
    started = time.monotonic()
    assert restore(backups, name).status == 0
    duration_s = 1.5 * (time.monotonic() - started)
    assert restore(backups, name, "--discard").status == 0
    choose = random.Random(seed)  # noqa: S311 - test data
    for _ in range(3):
        process = backups.start("restore_tenant.sh", NORTH, "--from", name, "--confirm", NORTH)
        time.sleep(choose.uniform(0, duration_s))
        kill(process)
        wait_for(lambda: sessions_of(backups, "pti-tenant-restore") == 0)
        for now, before, after in zip(everything(backups, NORTH), newer, old, strict=True):
            assert now in (before, after)
        assert everything(backups, SOUTH) == others
    assert restore(backups, name, "--confirm", NORTH).status == 0
    assert everything(backups, NORTH) == old
    # The first ones that were replaced are kept until they are dropped.
    for database in (RDV, USER):
        with backups.server.connect(database) as admin:
            first = kept(admin)[0]
            tables = admin.execute(
                "SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = %s::regnamespace"
                " AND obj_description(c.oid) LIKE 'Rows of public.doctor that%%'",
                [first],
            ).fetchall()
            assert admin.execute(f"SELECT name FROM {tables[0][0]}".encode()).fetchall() == [("newer",)]  # noqa: S608


@on_the_newest_server
def test_a_connection_that_is_lost_after_the_commit_is_not_reported_as_unchanged(backups: Backups) -> None:
    old = everything(backups, NORTH)
    name = backups.back_up()
    change(backups)
    tools = backups.task.home / "losing-tools"
    tools.mkdir(exist_ok=True)
    tools.chmod(0o755)
    lost = 'echo "server closed the connection unexpectedly" >&2; exit 2'
    script = f'#!/bin/sh\n{backups.server.programs.bin}/psql "$@" || exit\ncase "$*" in *kept=*) {lost} ;; esac\n'
    (tools / "psql").write_text(script)
    (tools / "psql").chmod(0o755)
    backups.environment["PATH"] = f"{tools}:{backups.server.programs.bin}:{os.environ['PATH']}"
    outcome = restore(backups, name, "--confirm", NORTH)
    assert outcome.status == 0, outcome
    assert "server closed the connection" in outcome.errors
    assert everything(backups, NORTH) == old


@on_the_newest_server
def test_unusable_arguments_are_refused(backups: Backups) -> None:
    name = backups.back_up()
    for arguments, reason in {
        (): "expected a tenant",
        ("me", "--from", name): "is not a tenant",
        (NORTH,): "--from is missing",
        (NORTH, "--from", "20200101T000000Z"): "there is no backup",
        (NORTH, "--from", name, "--confirm", SOUTH): "--confirm doesn't repeat the tenant",
        (NORTH, "--from", name, "--database", "pti_unknown"): "has no database",
        (NORTH, "--from", name, "--discard", "--confirm", NORTH): "--discard needs no --confirm",
    }.items():
        outcome = backups.run("restore_tenant.sh", *arguments)
        assert (outcome.status, outcome.output) == (1, ""), arguments
        assert reason in outcome.errors
    assert copies(backups) == []

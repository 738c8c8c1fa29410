"""The audit, export and erasure of tenants in several databases of a real server."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import TupleRow

from operations.tenants import receive, verify
from tests.artifacts.backup_scripts import Backups
from tests.artifacts.postgres_server import ADMIN, DEADLINE_S, Server, give_to_unprivileged_user
from tests.artifacts.provisioning_task import BACKUP, Outcome, Task, task_for
from tests.artifacts.tenant_script import Export, TenantScript
from tests.artifacts.versions import on_the_newest_server
from tests.full_run import only_in_full_runs

Session = psycopg.Connection[TupleRow]
Rows = Mapping[str, Sequence[str]]

pytestmark = only_in_full_runs

RUN = itertools.count(1)

TABLES = """
CREATE TABLE doctor (
    tenant_id uuid NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, name text, deputy bigint,
    photo bytea, PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, deputy) REFERENCES doctor (tenant_id, id)
);
CREATE TABLE patient (
    tenant_id uuid NOT NULL, id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text, doctor bigint, main_visit int,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, doctor) REFERENCES doctor (tenant_id, id) ON DELETE RESTRICT
);
CREATE TABLE visit (
    tenant_id uuid NOT NULL, day date NOT NULL, number int NOT NULL, patient uuid,
    PRIMARY KEY (tenant_id, day, number),
    FOREIGN KEY (tenant_id, patient) REFERENCES patient (tenant_id, id) ON DELETE CASCADE
) PARTITION BY RANGE (day);
CREATE TABLE visit_2025 PARTITION OF visit FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE visit_later PARTITION OF visit DEFAULT PARTITION BY HASH (tenant_id);
CREATE TABLE visit_later_0 PARTITION OF visit_later FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE visit_later_1 PARTITION OF visit_later FOR VALUES WITH (MODULUS 2, REMAINDER 1);
ALTER TABLE patient ADD COLUMN main_day date, ADD CONSTRAINT main FOREIGN KEY (tenant_id, main_day, main_visit)
    REFERENCES visit (tenant_id, day, number);
CREATE TABLE person (tenant_id uuid NOT NULL, name text);
CREATE TABLE employee (salary numeric) INHERITS (person);
CREATE SCHEMA "Odd ""names"": é";
CREATE TABLE "Odd ""names"": é"."a\\b
'c'" (tenant_id uuid, "the ""value\""" text);
CREATE TABLE country (code text PRIMARY KEY);
"""
ODD_TEXT = 'tab\t, line\nbreak, "quotes", back\\slash, \x01\x02, é, \u2028'


@pytest.fixture(scope="module")
def databases() -> Sequence[str]:
    """The names of the platform's databases, which exist once `task` has run."""
    return [f"tenants_{next(RUN)}", f"tenants_{next(RUN)}"]


@pytest.fixture(scope="module")
def provisioned_task(server: Server, databases: Sequence[str]) -> Iterator[Task]:
    """The provisioned databases, with a service's tables in each."""
    with task_for(server, *databases) as task:
        outcome = task.run()
        assert outcome.status == 0, outcome.errors
        for database in databases:
            with task.connect(database, f"{database}_migrator") as migrator:
                migrator.execute(TABLES.encode())
        try:
            yield task
        finally:
            with server.connect() as admin:
                for database in databases:
                    admin.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())


@pytest.fixture
def script(provisioned_task: Task, databases: Sequence[str]) -> TenantScript:
    return TenantScript(provisioned_task, databases)


@pytest.fixture
def admins(server: Server, databases: Sequence[str], provisioned_task: Task) -> Iterator[Mapping[str, Session]]:
    """A connection of the superuser to each database, which has no rows yet."""
    sessions = {database: server.connect(database) for database in databases}
    for session in sessions.values():
        session.execute("TRUNCATE tenancy.erased, country")
        session.execute("TRUNCATE doctor, person CASCADE")
        session.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier('Odd "names": é', "a\\b\n'c'")))
    yield sessions
    for session in sessions.values():
        session.close()


@pytest.fixture
def tenants(admins: Mapping[str, Session]) -> Sequence[str]:
    """Tenants with random rows in every database, in every table and partition."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - test data
    tenants = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(3)]
    for session in admins.values():
        session.execute("INSERT INTO country VALUES ('FR')")
        for tenant in tenants:
            add_rows(session, tenant, chance)
    return tenants


def add_rows(session: Session, tenant: str, chance: random.Random) -> None:
    """Insert rows that refer to each other, also in a circle."""
    for number in range(chance.randint(2, 5)):
        (doctor,) = (
            session.execute(
                "INSERT INTO doctor (tenant_id, name, photo) VALUES (%s, %s, %s) RETURNING id",
                [tenant, ODD_TEXT, b"\0\xff"],
            ).fetchone()
            or ()
        )
        session.execute("UPDATE doctor SET deputy = %s WHERE tenant_id = %s", [doctor, tenant])
        (patient,) = (
            session.execute(
                "INSERT INTO patient (tenant_id, name, doctor) VALUES (%s, 'P', %s) RETURNING id", [tenant, doctor]
            ).fetchone()
            or ()
        )
        for year in (2025, 2026):
            day = f"{year}-0{chance.randint(1, 9)}-01"
            session.execute("INSERT INTO visit VALUES (%s, %s, %s, %s)", [tenant, day, number, patient])
        session.execute("UPDATE patient SET main_day = %s, main_visit = %s WHERE id = %s", [day, number, patient])
        session.execute("INSERT INTO person VALUES (%s, 'parent')", [tenant])
        session.execute("INSERT INTO employee VALUES (%s, 'child', 1234.50)", [tenant])
        odd = sql.SQL("INSERT INTO {} VALUES (%s, %s)").format(sql.Identifier('Odd "names": é', "a\\b\n'c'"))
        session.execute(odd, [tenant, ODD_TEXT])


def physical_rows(session: Session, tenant: str | None = None) -> Rows:
    """Return the rows of each table with its own storage: all, or those of one tenant.

    The superuser finds the tables in the catalog, without any part of the schema tenancy.
    """
    tables = session.execute(
        "SELECT nspname, relname, EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id')"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r'"
        " AND nspname NOT IN ('pg_catalog', 'information_schema', 'tenancy') ORDER BY 1, 2"
    ).fetchall()
    found = {}
    for schema, name, has_tenant in tables:
        if tenant and not has_tenant:
            continue
        query = sql.SQL("SELECT ctid::text || xmin::text || t::text FROM ONLY {} t {} ORDER BY 1").format(
            sql.Identifier(schema, name),
            sql.SQL("WHERE tenant_id = {}").format(sql.Literal(tenant)) if tenant else sql.SQL(""),
        )
        found[f"{schema}.{name}"] = [row[0] for row in session.execute(query).fetchall()]
    return found


def number_of_rows(rows: Rows) -> int:
    return sum(map(len, rows.values()))


# Audit


@on_the_newest_server
def test_the_audit_of_correct_databases_finds_nothing(script: TenantScript, databases: Sequence[str]) -> None:
    expected = "".join(f"audit {database}: no findings\n" for database in databases)
    assert script.run("audit") == Outcome(0, expected, "")
    assert script.run("audit", "--json") == Outcome(0, "[]\n", "")


@on_the_newest_server
def test_the_audit_fails_and_lists_each_finding(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session]
) -> None:
    admins[databases[1]].execute("""CREATE TABLE "a "" table" (id int)""")
    try:
        outcome, as_json = script.run("audit"), script.run("audit", "--json")
    finally:
        admins[databases[1]].execute("""DROP TABLE "a "" table" """)
    assert (outcome.status, as_json.status, outcome.errors, as_json.errors) == (1, 1, "", "")
    remedy = f'ALTER TABLE public."a "" table" OWNER TO {databases[1]}_owner'
    assert outcome.output.splitlines() == [
        f"audit {databases[0]}: no findings",
        f'audit {databases[1]}: public."a "" table": belongs to {ADMIN}: {remedy}',
    ]
    assert json.loads(as_json.output) == [
        {
            "database": databases[1],
            "object": 'public."a "" table"',
            "problem": f"belongs to {ADMIN}",
            "remedy": remedy,
        }
    ]


@on_the_newest_server
def test_the_audit_reports_databases_that_it_cannot_read(
    server: Server, script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session]
) -> None:
    with server.connect() as admin:
        admins[databases[0]].execute("ALTER FUNCTION tenancy.audit RENAME TO elsewhere")
        admin.execute(f"REVOKE CONNECT ON DATABASE {databases[1]} FROM {BACKUP}".encode())
        try:
            outcome = script.run("audit", "--json")
            recorded = admin.execute(
                "SELECT database::text, findings FROM tenants.last_audit WHERE database = ANY (%s)"
                " AND ended_at > now() - interval '1 minute' ORDER BY database",
                [list(databases)],
            ).fetchall()
        finally:
            admins[databases[0]].execute("ALTER FUNCTION tenancy.elsewhere RENAME TO audit")
            admin.execute(f"GRANT CONNECT ON DATABASE {databases[1]} TO {BACKUP}".encode())
    assert outcome.status == 1
    assert outcome.errors == ""
    findings = {one["object"]: one["problem"] for one in json.loads(outcome.output)}
    assert "function tenancy.audit() does not exist" in findings[databases[0]]
    assert "permission denied for database" in findings[databases[1]]
    assert recorded == [(databases[0], 1), (databases[1], 1)]


@on_the_newest_server
def test_only_the_backup_role_records(
    provisioned_task: Task, databases: Sequence[str], admins: Mapping[str, Session]
) -> None:
    with (
        provisioned_task.connect("postgres", BACKUP) as backup,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        backup.execute("DELETE FROM tenants.last_audit")
    for role in ("app", "migrator"):
        with (
            provisioned_task.connect(databases[0], f"{databases[0]}_{role}") as session,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            session.execute("SELECT tenancy.record_erasure(gen_random_uuid(), now(), now())")


# Export


def export(script: TenantScript, tenant: str) -> Export:
    directory = script.task.scratch / f"export-{next(RUN)}"
    outcome = script.run("export", tenant, str(directory))
    assert (outcome.status, outcome.errors) == (0, "")
    return Export(directory)


def test_an_export_contains_every_row_of_the_tenant_and_no_other(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    exported = export(script, tenants[1])
    manifest = exported.manifest
    assert manifest["tenant"] == tenants[1]
    assert [one["database"] for one in manifest["snapshots"]] == list(databases)
    for entry in manifest["files"]:
        content = (exported.directory / entry["file"]).read_bytes()
        rows = exported.rows(entry["file"])
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert entry["rows"] == len(rows)
        assert {row["tenant_id"] for row in rows} == {tenants[1]}
    for database in databases:
        total = sum(one["rows"] for one in manifest["files"] if one["database"] == database)
        assert total == number_of_rows(physical_rows(admins[database], tenants[1])) > 0
    files = {str(path.relative_to(exported.directory)) for path in exported.directory.rglob("*") if path.is_file()}
    assert files == {"manifest.json", *(one["file"] for one in manifest["files"])}


@on_the_newest_server
def test_an_export_keeps_every_value(script: TenantScript, databases: Sequence[str], tenants: Sequence[str]) -> None:
    exported = export(script, tenants[0])
    files = {(one["database"], one["table"]): one["file"] for one in exported.manifest["files"]}
    doctors = exported.rows(files[databases[0], "public.doctor"])
    assert {(one["name"], one["photo"]) for one in doctors} == {(ODD_TEXT, "\\x00ff")}
    odd = exported.rows(files[databases[0], "Odd \"names\": é.a\\b\n'c'"])
    assert {one['the "value"'] for one in odd} == {ODD_TEXT}
    employees = (exported.directory / files[databases[0], "public.employee"]).read_text()
    assert '"salary":1234.50' in employees
    assert {name for _, name in files} == {
        *("public.doctor", "public.patient", "public.visit", "public.person", "public.employee"),
        "Odd \"names\": é.a\\b\n'c'",
    }


@on_the_newest_server
def test_an_export_lists_what_it_leaves_out(
    server: Server, script: TenantScript, databases: Sequence[str], tenants: Sequence[str]
) -> None:
    with server.connect() as admin:
        admin.execute(f"CREATE DATABASE other_{databases[0]}".encode())
        try:
            manifest = export(script, tenants[0]).manifest
        finally:
            admin.execute(f"DROP DATABASE other_{databases[0]}".encode())
    assert manifest["tables_not_exported"] == [
        {"database": database, "table": "public.country", "rows": 1} for database in databases
    ]
    assert f"other_{databases[0]}" in manifest["databases_not_exported"]


@on_the_newest_server
def test_a_streamed_export_has_the_same_files(script: TenantScript, tenants: Sequence[str], tmp_path: Path) -> None:
    exported = export(script, tenants[0])
    outcome = script.run("export", tenants[0], "-")
    assert (outcome.status, outcome.errors) == (0, "")
    stream = [f"{line}\n".encode() for line in outcome.output.removesuffix("\n").split("\n")]
    receive(stream, tmp_path)
    manifest = Export(tmp_path).manifest
    assert {**manifest, "snapshots": None} == {**exported.manifest, "snapshots": None}
    assert verify(tmp_path) == sum(one["rows"] for one in manifest["files"]) > 0
    for name in [one["file"] for one in manifest["files"]]:
        assert (tmp_path / name).read_bytes() == (exported.directory / name).read_bytes()


@on_the_newest_server
def test_an_export_sees_one_snapshot(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    """The last table is locked until another row has been added to it: the export waits there, and doesn't see it."""
    directory = script.task.scratch / f"export-{next(RUN)}"
    with script.task.server.connect(databases[0]) as blocker:
        blocker.execute("BEGIN; LOCK TABLE country; INSERT INTO country VALUES ('DE')")
        run = script.start("export", tenants[0], str(directory))
        waits = "SELECT 1 FROM pg_locks WHERE relation = 'country'::regclass AND NOT granted"
        wait_until(lambda: admins[databases[0]].execute(waits).fetchone() is not None)
        blocker.execute("COMMIT")
        _, errors = run.communicate(timeout=DEADLINE_S)
    assert (run.returncode, errors) == (0, "")
    assert [one["rows"] for one in Export(directory).manifest["tables_not_exported"]] == [1, 1]


@on_the_newest_server
def test_a_migration_can_not_rewrite_a_table_during_an_export(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    """The rewritten table would be empty for the export's snapshot."""
    directory = script.task.scratch / f"export-{next(RUN)}"
    tools = script.task.scratch / f"tools-{next(RUN)}"
    tools.mkdir()
    give_to_unprivileged_user(tools)
    (tools / "tee").write_text(
        f'#!/bin/sh\n: >"$0.began"\nuntil [ -e "$0.released" ]; do sleep 0.02; done\n{shutil.which("tee")} "$@"\n'
    )
    (tools / "tee").chmod(0o755)
    script.environment["PATH"] = f"{tools}:{script.task.server.programs.bin}:{os.environ['PATH']}"
    run = script.start("export", tenants[0], str(directory))
    wait_until((tools / "tee.began").exists)
    server = script.task.server
    with server.connect(databases[0], options="-c lock_timeout=100ms") as migration, suppress(psycopg.Error):
        migration.execute("ALTER TABLE person ALTER name TYPE text USING name || '!'")
    (tools / "tee.released").touch()
    _, errors = run.communicate(timeout=DEADLINE_S)
    assert (run.returncode, errors) == (0, "")
    expected = physical_rows(admins[databases[0]], tenants[0])["public.person"]
    assert len(Export(directory).rows(f"{databases[0]}/public.person.jsonl")) == len(expected) > 0


@on_the_newest_server
def test_a_row_that_is_lost_on_its_way_is_an_error(
    script: TenantScript, databases: Sequence[str], tenants: Sequence[str]
) -> None:
    """The program that copies the rows loses the first one."""
    programs = script.task.home / "programs"
    programs.mkdir()
    (programs / "tee").write_text(f'#!/bin/sh\nsed 1d | {shutil.which("tee")} "$@"\n')
    (programs / "tee").chmod(0o755)
    script.environment["PATH"] = f"{programs}:{script.task.server.programs.bin}:{os.environ['PATH']}"
    outcome = script.run("export", tenants[0], "-")
    assert outcome.status == 1
    assert f"{databases[0]}/public.doctor.jsonl: " in outcome.errors
    assert "manifest.json" not in outcome.output


def wait_until(condition: object) -> None:
    deadline = time.monotonic() + DEADLINE_S
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@contextmanager
def without_bypass(admin: Session) -> Iterator[None]:
    """Filter the rows of the backup role by the policies."""
    admin.execute(f"ALTER ROLE {BACKUP} NOBYPASSRLS".encode())
    try:
        yield
    finally:
        admin.execute(f"ALTER ROLE {BACKUP} BYPASSRLS".encode())


@on_the_newest_server
def test_a_role_that_sees_no_rows_is_an_error_instead_of_an_empty_result(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    with without_bypass(admins[databases[0]]):
        for arguments in (("export", tenants[0], "-"), ("erase", tenants[0], "--confirm", tenants[0])):
            outcome = script.run(*arguments)
            assert outcome.status == 1
            assert "query would be affected by row-level security policy" in outcome.errors
    assert number_of_rows(physical_rows(admins[databases[0]], tenants[0])) > 0


@on_the_newest_server
def test_tables_that_cannot_be_examined_are_not_left_out_silently(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    admin = admins[databases[1]]
    admin.execute("ALTER EVENT TRIGGER tenancy_guard DISABLE")
    admin.execute("CREATE TABLE old (tenant_id text); CREATE MATERIALIZED VIEW copies AS SELECT * FROM doctor")
    try:
        for arguments in (("export", tenants[0], "-"), ("erase", tenants[0], "--confirm", tenants[0])):
            outcome = script.run(*arguments)
            assert outcome.status == 1
            assert "public.copies\npublic.old\n" in outcome.errors
    finally:
        admin.execute("DROP TABLE old; DROP MATERIALIZED VIEW copies; ALTER EVENT TRIGGER tenancy_guard ENABLE")
    assert number_of_rows(physical_rows(admin, tenants[0])) > 0


# Erasure


def erase(script: TenantScript, tenant: str) -> Outcome:
    return script.run("erase", tenant, "--confirm", tenant)


def test_an_erasure_deletes_all_rows_of_one_tenant_and_changes_no_other_row(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    erased, *others = tenants
    kept = {(database, name): physical_rows(session, name) for database, session in admins.items() for name in others}
    expected = {database: physical_rows(session, erased) for database, session in admins.items()}
    outcome = erase(script, erased.upper())
    assert (outcome.status, outcome.errors) == (0, "")
    for database, session in admins.items():
        assert number_of_rows(physical_rows(session, erased)) == 0
        assert session.execute("SELECT * FROM country").fetchall() == [("FR",)]
        for name in others:
            assert physical_rows(session, name) == kept[database, name]
        lines = outcome.lines_about(f"database {database}: ")
        reported = sum(int(line.split()[-3]) for line in lines if line.endswith(" rows deleted"))
        assert reported == number_of_rows(expected[database]) > 0
    assert f"tenant {erased}: erased, no row is left in the databases: {' '.join(databases)}" in outcome.output


@on_the_newest_server
def test_an_erasure_can_be_repeated(script: TenantScript, tenants: Sequence[str], databases: Sequence[str]) -> None:
    assert erase(script, tenants[0]).status == 0
    first = script.run("erased")
    again = erase(script, tenants[0])
    assert again.status == 0
    assert f"database {databases[0]}: public.doctor: 0 rows deleted" in again.output
    assert script.run("erased") == first
    assert first.output.split()[0] == tenants[0]


@on_the_newest_server
def test_an_erasure_without_confirmation_counts_the_rows_and_deletes_none(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    outcome = script.run("erase", tenants[0])
    assert (outcome.status, outcome.errors) == (0, "")
    counted = [line for line in outcome.output.splitlines() if line.endswith(" rows")]
    expected = sum(number_of_rows(physical_rows(session, tenants[0])) for session in admins.values())
    assert sum(int(line.split()[-2]) for line in counted) == expected > 0
    unknown = script.run("erase", str(uuid.uuid4()))
    assert unknown.output.startswith("no database has a row of ")
    for arguments in (
        [tenants[0], "--confirm"],
        [tenants[0], "--confirm", ""],
        [tenants[0], "--confirm", tenants[1]],
        ["all", "--confirm", "all"],
    ):
        refused = script.run("erase", *arguments)
        assert refused.status == 1
        assert refused.errors
    assert sum(number_of_rows(physical_rows(session, tenants[0])) for session in admins.values()) == expected
    assert script.run("erased").output == ""


@on_the_newest_server
def test_rows_that_a_policy_keeps_are_reported(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    admin = admins[databases[1]]
    admin.execute("CREATE POLICY keep ON person AS RESTRICTIVE FOR DELETE USING (false)")
    left = len(physical_rows(admin, tenants[0])["public.person"])
    try:
        outcome = erase(script, tenants[0])
    finally:
        admin.execute("DROP POLICY keep ON person")
    assert outcome.status == 1
    assert f"rows of {tenants[0]} are left:\npublic.person: {left} rows\n" in outcome.errors
    assert script.run("erased").output.split()[2] == "-", "not verified"
    assert erase(script, tenants[0]).status == 0


@on_the_newest_server
def test_rows_that_a_trigger_writes_are_erased(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    with script.task.connect(databases[0], f"{databases[0]}_migrator") as migrator:
        migrator.execute(
            "CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN INSERT INTO person VALUES (OLD.tenant_id, OLD.name); RETURN OLD; END';"
            "CREATE TRIGGER remember AFTER DELETE ON doctor FOR EACH ROW EXECUTE FUNCTION remember()"
        )
        try:
            outcome = erase(script, tenants[0])
        finally:
            migrator.execute("DROP FUNCTION remember() CASCADE")
    assert (outcome.status, outcome.errors) == (0, "")
    assert number_of_rows(physical_rows(admins[databases[0]], tenants[0])) == 0


@on_the_newest_server
def test_defaults_of_a_database_do_not_stop_an_erasure(
    server: Server,
    script: TenantScript,
    databases: Sequence[str],
    admins: Mapping[str, Session],
    tenants: Sequence[str],
) -> None:
    defaults = ("default_transaction_read_only", "statement_timeout", "idle_in_transaction_session_timeout")
    with server.connect() as admin:
        for name in defaults:
            admin.execute(f"ALTER DATABASE {databases[0]} SET {name} = 1".encode())
        try:
            outcome = erase(script, tenants[0])
        finally:
            for name in defaults:
                admin.execute(f"ALTER DATABASE {databases[0]} RESET {name}".encode())
    assert (outcome.status, outcome.errors) == (0, "")
    assert number_of_rows(physical_rows(admins[databases[0]], tenants[0])) == 0


@on_the_newest_server
def test_a_reference_from_another_tenant_stops_the_erasure(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    admin = admins[databases[1]]
    (patient,) = admin.execute("SELECT id FROM patient WHERE tenant_id = %s", [tenants[0]]).fetchone() or ()
    admin.execute("CREATE TABLE link (tenant_id uuid, patient uuid REFERENCES patient (id) ON DELETE CASCADE)")
    admin.execute(f"ALTER TABLE link OWNER TO {databases[1]}_owner".encode())
    admin.execute("INSERT INTO link VALUES (%s, %s)", [tenants[1], patient])
    try:
        outcome = erase(script, tenants[0])
        assert outcome.status == 1
        assert "public.link.link_patient_fkey: 1 rows\n" in outcome.errors
        assert number_of_rows(physical_rows(admins[databases[0]], tenants[0])) > 0, "no database has been changed"
    finally:
        admin.execute("DROP TABLE link")


@on_the_newest_server
def test_a_concurrent_transaction_of_the_tenant_is_found(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    """Its rows are invisible until it ends: the verification waits for it."""
    with script.task.connect(databases[0], f"{databases[0]}_app") as app:
        app.execute("BEGIN")
        app.execute("SELECT set_config('app.tenant_id', %s, true)", [tenants[0]])
        app.execute("INSERT INTO person VALUES (%s, 'late')", [tenants[0]])
        run = script.start("erase", tenants[0], "--confirm", tenants[0])
        waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pti-tenants' AND query LIKE '%await_writers%'"
        wait_until(lambda: admins[databases[0]].execute(waits).fetchone() is not None)
        assert number_of_rows(physical_rows(admins[databases[0]], tenants[0])) == 0
        app.execute("COMMIT")
        _, errors = run.communicate(timeout=DEADLINE_S)
    assert run.returncode == 1
    assert f"rows of {tenants[0]} are left:\npublic.person: 1 rows\n" in errors
    assert "They were written during the erasure" in errors
    assert erase(script, tenants[0]).status == 0


@on_the_newest_server
def test_a_transaction_that_does_not_end_is_reported(
    script: TenantScript, databases: Sequence[str], tenants: Sequence[str]
) -> None:
    script.environment["TENANTS_WAIT_S"] = "1"
    with script.task.connect(databases[0], f"{databases[0]}_app") as app:
        app.execute("BEGIN")
        app.execute("SELECT set_config('app.tenant_id', %s, true)", [tenants[0]])
        app.execute("INSERT INTO person VALUES (%s, 'late')", [tenants[0]])
        outcome = erase(script, tenants[0])
    assert outcome.status == 1
    assert "a transaction that ran during the erasure hasn't ended within 1 s" in outcome.errors


@on_the_newest_server
@pytest.mark.parametrize("moment", ["before the first deletion", "between the databases"])
def test_a_killed_erasure_is_completed_by_the_next_one(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str], moment: str
) -> None:
    blocked = databases[0] if moment == "before the first deletion" else databases[1]
    with script.task.server.connect(blocked) as blocker:
        blocker.execute("BEGIN; LOCK TABLE doctor IN SHARE MODE")
        run = script.start("erase", tenants[0], "--confirm", tenants[0])
        waits = "SELECT 1 FROM pg_locks WHERE relation = 'doctor'::regclass AND NOT granted"
        wait_until(lambda: admins[blocked].execute(waits).fetchone() is not None)
        run.send_signal(signal.SIGKILL)
        run.wait(timeout=DEADLINE_S)
        admins[blocked].execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'pti-tenants'"
        )
        blocker.execute("COMMIT")
    assert number_of_rows(physical_rows(admins[databases[1]], tenants[0])) > 0
    assert script.run("erased").output.split()[0] == tenants[0], "recorded before anything is deleted"
    assert erase(script, tenants[0]).status == 0
    for session in admins.values():
        assert number_of_rows(physical_rows(session, tenants[0])) == 0


# Erased tenants in restored databases


@on_the_newest_server
def test_erased_tenants_are_erased_again_in_a_restored_copy(
    server: Server,
    script: TenantScript,
    databases: Sequence[str],
    admins: Mapping[str, Session],
    tenants: Sequence[str],
) -> None:
    """The copy is as old as the backup: it has the rows, but not the entry in the list."""
    database, copy = databases[0], f"restoring_{databases[0]}"
    admins[database].close()
    with server.connect() as admin:
        admin.execute(f"CREATE DATABASE {copy} TEMPLATE {database} OWNER {database}_owner".encode())
        admin.execute(f"GRANT CONNECT ON DATABASE {copy} TO {database}_migrator, {BACKUP}".encode())
        admin.execute(f"ALTER ROLE {database}_migrator IN DATABASE {copy} SET role = '{database}_owner'".encode())
    try:
        assert erase(script, tenants[0]).status == 0
        with server.connect(copy) as restored:
            number = number_of_rows(physical_rows(restored, tenants[0]))
            kept = physical_rows(restored, tenants[1])
            outcome = script.run("apply-erased", copy)
            assert (outcome.status, outcome.errors) == (0, "")
            assert number_of_rows(physical_rows(restored, tenants[0])) == 0 < number
            assert physical_rows(restored, tenants[1]) == kept
            assert restored.execute("SELECT tenant_id::text FROM tenancy.erased").fetchall() == [(tenants[0],)]
        again = script.run("apply-erased", copy)
        assert again.output == f"erased tenants: 1, no row of them is left in the databases: {copy}\n"
    finally:
        with server.connect() as admin:
            admin.execute(f"DROP DATABASE {copy} WITH (FORCE)".encode())


@on_the_newest_server
def test_the_list_survives_the_loss_of_the_server(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    file = script.task.scratch / f"erased-{next(RUN)}"
    script.environment["TENANTS_ERASED_FILE"] = str(file)
    earlier = f"{tenants[1]} 2026-01-02T03:04:05Z -\n"
    file.write_text(earlier)
    assert erase(script, tenants[0]).status == 0
    listed = file.read_text()
    assert sorted(line.split()[0] for line in listed.splitlines()) == sorted(tenants[:2])
    assert earlier in listed

    for session in admins.values():
        session.execute("TRUNCATE tenancy.erased")
        session.execute("INSERT INTO person VALUES (%s, 'restored')", [tenants[0]])
    outcome = script.run("apply-erased")
    assert (outcome.status, outcome.errors) == (0, "")
    for session in admins.values():
        assert number_of_rows(physical_rows(session, tenants[0])) == 0
        assert number_of_rows(physical_rows(session, tenants[1])) == 0
        assert number_of_rows(physical_rows(session, tenants[2])) > 0


def backups_of_tenants(script: TenantScript) -> Backups:
    """Return the backups of the script's databases on a new volume."""
    volume = script.task.home / f"volume-{next(RUN)}"
    volume.mkdir()
    give_to_unprivileged_user(volume)
    shutil.copy(script.task.home / "assets" / "tenants.sh", script.task.home / "assets" / "backup")
    return Backups(script.task, volume / "backups", tuple(script.databases))


@on_the_newest_server
def test_erased_tenants_do_not_come_back_with_a_restore(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    backups = backups_of_tenants(script)
    before_the_erasure = backups.back_up()
    assert erase(script, tenants[0]).status == 0
    kept = {database: number_of_rows(physical_rows(session, tenants[1])) for database, session in admins.items()}

    for session in admins.values():
        session.close()
    restored = backups.restore(before_the_erasure, databases[0])
    assert (restored.status, restored.errors) == (0, ""), restored
    assert f"database restoring_{databases[0]}: public.doctor: " in restored.output
    for database in databases:
        with script.task.server.connect(database) as session:
            assert number_of_rows(physical_rows(session, tenants[0])) == 0
            assert number_of_rows(physical_rows(session, tenants[1])) == kept[database]
            assert session.execute("SELECT tenant_id::text FROM tenancy.erased").fetchall() == [(tenants[0],)]
    assert (backups.directory.parent / "erased-tenants").read_text().split()[0] == tenants[0]
    assert backups.run("restore.sh", "--drop-replaced").status == 0


@contextmanager
def unprovisioned_database(server: Server, name: str) -> Iterator[Session]:
    """Create a database that is backed up, because of its owner, but not provisioned. Yield its owner's session."""
    with server.connect() as admin:
        admin.execute(f"CREATE ROLE {name}_owner".encode())
        admin.execute(f"CREATE DATABASE {name} OWNER {name}_owner".encode())
        admin.execute(f"GRANT CONNECT ON DATABASE {name} TO {BACKUP}".encode())
        try:
            with server.connect(name, options=f"-c role={name}_owner") as owner:
                yield owner
        finally:
            for database in (name, f"restoring_{name}"):
                admin.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)".encode())
            admin.execute(f"DROP ROLE {name}_owner".encode())


@on_the_newest_server
def test_a_database_of_no_service_can_be_restored_after_an_erasure(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    backups = backups_of_tenants(script)
    with unprovisioned_database(script.task.server, "reports") as owner:
        name = backups.back_up()
        owner.close()
        assert erase(script, tenants[0]).status == 0
        restored = backups.restore(name, "reports")
        assert (restored.status, restored.errors) == (0, ""), restored
        assert "database restoring_reports: not examined, because it belongs to no service\n" in restored.output
        assert backups.run("restore.sh", "--drop-replaced").status == 0


@on_the_newest_server
def test_the_owner_of_an_unprovisioned_database_can_not_add_to_the_list(
    script: TenantScript, databases: Sequence[str], tenants: Sequence[str]
) -> None:
    with unprovisioned_database(script.task.server, "reports") as owner:
        owner.execute("CREATE SCHEMA tenancy; GRANT USAGE ON SCHEMA tenancy TO PUBLIC")
        owner.execute("CREATE TABLE tenancy.erased (tenant_id uuid, requested_at timestamptz, verified_at timestamptz)")
        owner.execute("INSERT INTO tenancy.erased VALUES (%s, now())", [tenants[0]])
        outcome = script.run("erased")
    assert (outcome.status, outcome.output) == (0, "")


@on_the_newest_server
def test_a_volume_that_can_not_be_written_does_not_stop_a_restore(
    script: TenantScript, databases: Sequence[str], admins: Mapping[str, Session], tenants: Sequence[str]
) -> None:
    """The list is in the databases too. A backup must write it."""
    assert erase(script, tenants[0]).status == 0
    admins[databases[0]].execute("INSERT INTO person VALUES (%s, 'restored')", [tenants[0]])
    script.environment["TENANTS_ERASED_FILE"] = "/proc/erased-tenants"
    assert script.run("erased").status == 1
    outcome = script.run("apply-erased")
    assert outcome.status == 0, outcome
    assert "/proc/erased-tenants was not written" in outcome.errors
    assert number_of_rows(physical_rows(admins[databases[0]], tenants[0])) == 0


@on_the_newest_server
def test_a_damaged_list_is_refused(script: TenantScript, databases: Sequence[str]) -> None:
    file = script.task.scratch / f"erased-{next(RUN)}"
    script.environment["TENANTS_ERASED_FILE"] = str(file)
    file.write_text("11111111-1111-4111-8111-111111111111 2026-01-02T03")
    outcome = script.run("apply-erased")
    assert outcome.status == 1
    assert "has a line that isn't" in outcome.errors


@on_the_newest_server
def test_the_script_leaves_no_temporary_files(script: TenantScript, tenants: Sequence[str]) -> None:
    before = set(script.task.scratch.iterdir())
    assert script.run("export", tenants[0], "-").status == 0
    assert script.run("erase", "no tenant").status == 1
    assert set(script.task.scratch.iterdir()) == before


@on_the_newest_server
def test_missing_passwords_are_named(script: TenantScript, databases: Sequence[str], tmp_path: Path) -> None:
    script.environment["TENANTS_PASSWORDS_DIR"] = str(tmp_path)
    outcome = script.run("audit")
    assert outcome.status == 1
    assert f"{tmp_path}/{BACKUP} can't be read" in outcome.errors

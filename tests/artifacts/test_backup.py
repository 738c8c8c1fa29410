"""Backups and their restore with real servers: what comes back, and what a run leaves behind that fails, is killed or
finds a damaged backup.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.artifacts.backup_scripts import Backups, backups_of, kill
from tests.artifacts.postgres_server import (
    ADMIN_PASSWORD,
    DEADLINE_S,
    Installation,
    give_to_unprivileged_user,
    runnable,
    running_server,
)
from tests.artifacts.provisioning_task import BACKUP, dump
from tests.artifacts.versions import SERVER_VERSIONS, on_the_newest_server
from tests.full_run import only_in_full_runs

pytestmark = only_in_full_runs

RDV, USER = "pti_rdv", "pti_user"
TENANTS = [f"{digit * 8}-1111-4111-8111-111111111111" for digit in "123"]

ASSETS = Path(__file__).resolve().parents[2] / "assets"
RULES = ASSETS / "prometheus" / "rules" / "backup.yml"
METRIC = "pti_backup_last_success"
QUERIES: dict[str, Any] = yaml.safe_load((ASSETS / "postgres" / "exporter_queries.yml").read_text())

SCHEMA = """
    CREATE TABLE patient (
        tenant_id uuid NOT NULL, id serial, name text, born date, note jsonb, photo bytea,
        upper_name text GENERATED ALWAYS AS (upper(name)) STORED, PRIMARY KEY (tenant_id, id));
    CREATE TABLE booking (
        tenant_id uuid NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, patient_id int, room numeric, day date,
        PRIMARY KEY (tenant_id, id, day), FOREIGN KEY (tenant_id, patient_id) REFERENCES patient (tenant_id, id)
    ) PARTITION BY RANGE (day);
    CREATE TABLE booking_early PARTITION OF booking FOR VALUES FROM ('2000-01-01') TO ('2013-01-01');
    CREATE TABLE booking_late PARTITION OF booking DEFAULT;
    CREATE TABLE history (tenant_id uuid NOT NULL, "what ""happened: 1%" text);
    CREATE TABLE "Tenants %s" (id int, name text);
    CREATE VIEW rooms AS SELECT tenant_id, room FROM booking;
    CREATE SEQUENCE invoice INCREMENT 7 START 100;
    CREATE SCHEMA reports;
    CREATE TABLE reports.daily (tenant_id uuid NOT NULL, total int);
    CREATE POLICY recent ON booking AS RESTRICTIVE FOR SELECT USING (day > '2001-01-01');
    CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO history VALUES
        (NEW.tenant_id, TG_OP); RETURN NEW; END';
    CREATE TRIGGER history AFTER UPDATE ON patient FOR EACH ROW EXECUTE FUNCTION changed();
"""


@pytest.fixture(scope="module")
def provisioned_server(installation: Installation) -> Iterator[Backups]:
    """Two provisioned databases with tables, on a server that no other module uses."""
    with running_server(installation) as server, backups_of(server, RDV, USER) as backups:
        for database in (RDV, USER):
            with backups.task.connect(database, f"{database}_migrator") as migrator:
                migrator.execute(SCHEMA)
                migrator.execute(f"REVOKE UPDATE, DELETE ON history FROM {database}_app")
            with server.connect(database) as admin:
                admin.execute("CREATE EXTENSION citext")
                admin.execute("CREATE TABLE word (word citext)")
                admin.execute(f"ALTER TABLE word OWNER TO {database}_owner")
                admin.execute(f"ALTER DATABASE {database} SET work_mem = '5MB'")
                admin.execute(f"ALTER DATABASE {database} CONNECTION LIMIT 77")
                admin.execute(f"COMMENT ON DATABASE {database} IS 'one\nALTER DATABASE {database} SET work_mem'")
        yield backups


@pytest.fixture
def backups(provisioned_server: Backups) -> Iterator[Backups]:
    """The two databases with rows, and no backup yet."""
    for database in (RDV, USER):
        add_rows(provisioned_server, database, seeded(database))
    yield provisioned_server
    shutil.rmtree(provisioned_server.directory, ignore_errors=True)
    provisioned_server.environment.clear()
    drop(provisioned_server, *(name for name in databases_on(provisioned_server) if name not in (RDV, USER)))


def seeded(seed: int | str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - test data


def add_rows(backups: Backups, database: str, choose: random.Random) -> None:
    """Insert, update and delete random rows of several tenants, and advance sequences."""
    with backups.server.connect(database) as admin, admin.transaction():
        for tenant in TENANTS:
            for _ in range(choose.randrange(1, 20)):
                name = "".join(choose.choices("aé€🙂\\'\"\n\t ,;|{}%:", k=choose.randrange(12)))
                born = datetime(1900, 1, 1, tzinfo=UTC) + timedelta(days=choose.randrange(40_000))
                [(patient,)] = admin.execute(
                    "INSERT INTO patient (tenant_id, name, born, note, photo) VALUES (%s, %s, %s, %s, %s) RETURNING id",
                    [tenant, name, born, json.dumps({"name": name}), choose.randbytes(choose.randrange(200))],
                ).fetchall()
                admin.execute(
                    "INSERT INTO booking (tenant_id, patient_id, room, day) VALUES (%s, %s, %s, %s)",
                    [tenant, patient, choose.random(), born + timedelta(days=36_600)],
                )
            admin.execute("UPDATE patient SET born = NULL WHERE tenant_id = %s AND id %% 5 = 0", [tenant])
        admin.execute("DELETE FROM booking WHERE id %% %s = 0", [choose.randrange(3, 9)])
        admin.execute('INSERT INTO "Tenants %%s" SELECT n, n FROM generate_series(1, %s) AS n', [choose.randrange(9)])
        admin.execute("INSERT INTO word VALUES ('Straße')")
        for _ in range(choose.randrange(1, 5)):
            admin.execute("SELECT nextval('invoice')")


def state(backups: Backups, *databases: str) -> list[str]:
    """Return everything in these databases, with owner, grants and settings, and the server's roles. The rows of each
    table are sorted, because a restored table may store them in another order."""
    contents = [dump(backups.server, "pg_dump", "--create", database) for database in databases]
    contents = [re.sub(r"(?ms)(^COPY .*? FROM stdin;$)(.*?)(?=^\\\.$)", sorted_rows, content) for content in contents]
    return "\n".join([*contents, dump(backups.server, "pg_dumpall", "--globals-only")]).split("\n")


def sorted_rows(copy: re.Match[str]) -> str:
    return "\n".join([copy[1], *sorted(copy[2].split("\n"))])


def rows_of(backups: Backups, database: str) -> list[object]:
    """Return the rows and the counters as a query sees them."""
    with backups.server.connect(database) as admin:
        return [
            admin.execute(query).fetchall()
            for query in (
                "SELECT * FROM patient ORDER BY 1, 2",
                "SELECT * FROM booking ORDER BY 1, 2",
                "SELECT * FROM history ORDER BY 1, 2",
                "SELECT last_value, is_called FROM invoice",
                "SELECT last_value, is_called FROM booking_id_seq",
            )
        ]


def databases_on(backups: Backups) -> list[str]:
    """Return the names of the databases on the server, without its own."""
    with backups.server.connect() as admin:
        found = admin.execute("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")
        return sorted(str(name) for (name,) in found.fetchall())


def drop(backups: Backups, *databases: str) -> None:
    """Lose these databases."""
    with backups.server.connect() as admin:
        for database in databases:
            admin.execute(f"DROP DATABASE {database} WITH (FORCE)")


# What comes back


@pytest.mark.parametrize("seed", [1, 2])
def test_dropped_databases_come_back_with_every_row_grant_policy_and_setting(backups: Backups, seed: int) -> None:
    for database in (RDV, USER):
        add_rows(backups, database, seeded(seed))
    before = state(backups, RDV, USER)
    rows = [rows_of(backups, database) for database in (RDV, USER)]
    name = backups.back_up()
    drop(backups, RDV, USER)

    outcome = backups.restore(name)

    assert (outcome.status, outcome.errors) == (0, "")
    assert state(backups, RDV, USER) == before
    assert [rows_of(backups, database) for database in (RDV, USER)] == rows
    assert databases_on(backups) == [RDV, USER]


def test_provisioning_finds_nothing_to_change_after_a_restore(backups: Backups) -> None:
    name = backups.back_up()
    assert backups.restore(name).status == 0

    outcome = backups.task.run()

    assert (outcome.status, outcome.errors) == (0, "")
    assert outcome.lines_about("server: un", "database", "role", "passwords", "audit") == [
        "server: unchanged",
        *(f"database {database}: unchanged" for database in (RDV, USER)),
        "passwords: 5 unchanged",
        *(f"audit {database}: no findings" for database in (RDV, USER)),
    ]


def test_tenants_stay_isolated_after_a_restore(backups: Backups) -> None:
    name = backups.back_up()
    assert backups.restore(name, RDV).status == 0
    with backups.task.connect(RDV, f"{RDV}_app") as app:
        assert app.execute("SELECT count(*) FROM patient").fetchone() == (0,)
        app.execute("SELECT set_config('app.tenant_id', %s, false)", [TENANTS[0]])
        assert app.execute("SELECT DISTINCT tenant_id::text FROM patient").fetchall() == [(TENANTS[0],)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("UPDATE history SET tenant_id = tenant_id")
    with backups.task.connect(RDV, f"{RDV}_migrator") as migrator:
        migrator.execute("CREATE TABLE later (tenant_id uuid)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="tenant isolation"):
            migrator.execute("ALTER TABLE later DISABLE ROW LEVEL SECURITY")
        migrator.execute("DROP TABLE later")


def test_newer_data_of_the_database_is_gone_and_other_databases_are_untouched(backups: Backups) -> None:
    name = backups.back_up()
    old = state(backups, RDV)
    for database in (RDV, USER):
        add_rows(backups, database, seeded(9))
    with backups.task.connect(RDV, f"{RDV}_migrator") as migrator:
        migrator.execute("CREATE TABLE newer (tenant_id uuid)")
    newer = rows_of(backups, RDV)
    other = state(backups, USER)

    with backups.server.connect(USER) as session, backups.server.connect(RDV) as ended:
        assert backups.restore(name, RDV).status == 0
        session.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            ended.execute("SELECT 1")

    assert state(backups, RDV) == old
    assert state(backups, USER) == other
    [replaced] = set(databases_on(backups)) - {RDV, USER}
    assert re.fullmatch(rf"replaced_\d{{14}}_{RDV}", replaced)
    assert rows_of(backups, replaced) == newer
    assert backups.run("restore.sh", "--drop-replaced").output == f"database {replaced}: dropped\n"
    assert databases_on(backups) == [RDV, USER]


@on_the_newest_server
def test_without_confirmation_it_only_prints_what_it_would_replace(backups: Backups) -> None:
    name = backups.back_up()
    with backups.server.connect(RDV) as admin:
        [(bookings,)] = admin.execute("SELECT count(*) FROM word").fetchall()
        admin.execute("INSERT INTO word VALUES ('newer'), ('newest')")
        admin.execute("CREATE TABLE added ()")
    before = state(backups, RDV, USER)

    outcome = backups.run("restore.sh", "--all")

    assert outcome.status == 0
    assert f'  "public.word": {bookings} rows in the backup, {bookings + 2} rows now\n' in outcome.output
    assert '  "public.added": no such table in the backup, 0 rows now\n' in outcome.output
    assert f"--from {name} --confirm {name}" in outcome.output
    assert state(backups, RDV, USER) == before
    assert databases_on(backups) == [RDV, USER]
    with backups.server.connect(RDV) as admin:
        admin.execute("DROP TABLE added")


@on_the_newest_server
def test_unusable_arguments_are_refused(backups: Backups) -> None:
    backups.back_up()
    unknown = "20200101T000000Z"
    for arguments, reason in {
        ("--all", "--confirm", unknown): f"--confirm names the backup {unknown}",
        ("--database", "pti_unknown"): "has no database",
        ("--all", "--from", unknown): "there is no backup",
        ("--all", "--from", "../.."): "there is no backup",
        (): "expected one --database, or --all",
        ("--all", "--database", RDV): "expected one --database, or --all",
        ("--database",): "needs a value",
        ("--drop-replaced", "--all"): "has no other arguments",
        ("--drop-replaced", "--rehearse"): "has no other arguments",
        ("--all", "--rehearse", "--confirm", unknown): "--rehearse needs no --confirm",
    }.items():
        outcome = backups.run("restore.sh", *arguments)
        assert (outcome.status, outcome.output) == (1, "")
        assert reason in outcome.errors
    assert databases_on(backups) == [RDV, USER]


@on_the_newest_server
def test_a_backup_is_one_moment_of_each_database(backups: Backups) -> None:
    """Both tables get a row per transaction while the backup runs. The restore compares the manifest's counts with the
    dump's."""
    with backups.server.connect(RDV) as admin:
        admin.execute("CREATE TABLE debit (n int)")
        admin.execute("CREATE TABLE credit (n int)")
    stopped = threading.Event()

    def write() -> None:
        with backups.server.connect(RDV) as writer:
            while not stopped.is_set():
                writer.execute("WITH one AS (INSERT INTO debit VALUES (1)) INSERT INTO credit VALUES (1)")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        name = backups.back_up()
    finally:
        stopped.set()
        thread.join()
    assert backups.restore(name, RDV).status == 0
    with backups.server.connect(RDV) as admin:
        [(debits, credits)] = admin.execute(
            "SELECT (SELECT count(*) FROM debit), (SELECT count(*) FROM credit)"
        ).fetchall()
        assert debits == credits > 0
        admin.execute("DROP TABLE debit, credit")


def test_a_failed_termination_does_not_hide_the_result_of_the_replacement(backups: Backups) -> None:
    name = backups.back_up()
    tools = backups.task.home / "failing-tools"
    tools.mkdir()
    tools.chmod(0o755)
    script = f'#!/bin/sh\ncase "$*" in *replaced=*) exit 2 ;; esac\nexec {backups.server.programs.bin}/psql "$@"\n'
    (tools / "psql").write_text(script)
    (tools / "psql").chmod(0o755)
    backups.environment["PATH"] = f"{tools}:{backups.server.programs.bin}:{os.environ['PATH']}"
    outcome = backups.restore(name, RDV)
    assert outcome.status == 0, outcome
    assert f"database {RDV}: replaced" in outcome.output


@on_the_newest_server
def test_a_copy_of_another_restore_does_not_replace_a_database(backups: Backups) -> None:
    """The archive's container restores too, after a recovery to a point in time, and has a lock of its own."""
    name = backups.back_up()
    before = state(backups, RDV)
    tools = backups.task.home / "other-restore"
    tools.mkdir()
    tools.chmod(0o755)
    real = f"{backups.server.programs.bin}/psql"
    other = f"{real} -qc 'DROP DATABASE restoring_{RDV} WITH (FORCE)' -c 'CREATE DATABASE restoring_{RDV}'"
    (tools / "psql").write_text(f'#!/bin/sh\ncase "$*" in *swap.sql*) {other} ;; esac\nexec {real} "$@"\n')
    (tools / "psql").chmod(0o755)
    backups.environment["PATH"] = f"{tools}:{backups.server.programs.bin}:{os.environ['PATH']}"
    outcome = backups.restore(name, RDV)
    assert outcome.status == 1, outcome
    assert f"restoring_{RDV} is of another restore" in outcome.errors
    assert "Nothing has been replaced." in outcome.errors
    assert state(backups, RDV) == before


@on_the_newest_server
@pytest.mark.parametrize("is_committed", [True, False])
def test_a_connection_that_is_lost_during_the_replacement_is_reported_by_its_result(
    backups: Backups, is_committed: bool
) -> None:
    before = state(backups, RDV)
    name = backups.back_up()
    add_rows(backups, RDV, seeded(1))
    newer = state(backups, RDV)
    tools = backups.task.home / "losing-tools"
    tools.mkdir(exist_ok=True)
    tools.chmod(0o755)
    real, lost = f'{backups.server.programs.bin}/psql "$@"', 'echo "server closed the connection" >&2; exit 2'
    swap = f"{real} || exit; {lost}" if is_committed else lost
    (tools / "psql").write_text(f'#!/bin/sh\ncase "$*" in *swap.sql*) {swap} ;; esac\nexec {real}\n')
    (tools / "psql").chmod(0o755)
    backups.environment["PATH"] = f"{tools}:{backups.server.programs.bin}:{os.environ['PATH']}"
    outcome = backups.restore(name, RDV)
    assert "server closed the connection" in outcome.errors
    if is_committed:
        assert outcome.status == 0, outcome
        assert "were replaced nevertheless" in outcome.errors
        assert f"database {RDV}: replaced" in outcome.output
    else:
        assert outcome.status == 1
        assert "Nothing has been replaced." in outcome.errors
    assert state(backups, RDV) == (before if is_committed else newer)


def test_clients_that_reconnect_at_once_wait_for_a_moment_only(backups: Backups) -> None:
    """A session that begins just before the databases are locked isn't listed yet when the others are terminated. It
    would block the rename, and thereby every client, for the 5 s that PostgreSQL waits for it to end."""
    name = backups.back_up()
    stopped = threading.Event()
    waited_s = [0.0]

    def stay_connected() -> None:
        began = time.monotonic()
        try:
            # The delay is in the middle of the connection: it has a database, but isn't listed as a session yet.
            session = backups.server.connect(RDV, options="-c post_auth_delay=1")
        finally:
            waited_s.append(time.monotonic() - began)
        with session:
            while not stopped.wait(0.1):
                session.execute("SELECT 1")

    def reconnect() -> None:
        while not stopped.is_set():
            with suppress(psycopg.OperationalError):
                stay_connected()

    # One more client connects every half second, so that one is always in the middle of it.
    def more_clients() -> None:
        while not stopped.wait(0.5):
            clients.append(threading.Thread(target=reconnect))
            clients[-1].start()

    clients = [threading.Thread(target=more_clients)]
    clients[0].start()
    try:
        outcome = backups.restore(name, RDV)
    finally:
        stopped.set()
        for client in clients:
            client.join()
    assert (outcome.status, outcome.errors) == (0, "")
    assert len(databases_on(backups)) == 3
    assert max(waited_s) < 4


def test_a_backup_has_the_rows_of_a_table_that_a_migration_rewrites(backups: Backups) -> None:
    """The rewritten table is empty for snapshots that are older than the commit."""
    with backups.server.connect() as admin, backups.server.connect(RDV) as migration:
        with migration.transaction():
            migration.execute("ALTER TABLE patient ALTER born TYPE date USING born + 0")
            process = backups.start("backup.sh")
            wait_for(lambda: is_waiting_for_a_lock(admin))
        output, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, ""), output
    rows = rows_of(backups, RDV)
    assert rows[0]
    assert backups.restore(backups.names()[-1], RDV).status == 0
    assert rows_of(backups, RDV) == rows


@on_the_newest_server
def test_defaults_of_the_database_and_the_role_do_not_stop_a_backup_or_a_restore(backups: Backups) -> None:
    """The session that exports the snapshot waits for a lock, and is idle while pg_dump runs, longer than the role's
    defaults."""
    settings = {"default_transaction_read_only": "on", "idle_session_timeout": "1min"}
    if backups.server.programs.major >= 17:
        settings["transaction_timeout"] = "1s"
    with backups.server.connect() as admin:
        for name, value in settings.items():
            admin.execute(f"ALTER DATABASE {RDV} SET {name} = '{value}'")
        admin.execute(f"ALTER ROLE {BACKUP} SET idle_in_transaction_session_timeout = '10ms'")
        admin.execute(f"ALTER ROLE {BACKUP} SET statement_timeout = '1ms'")
        try:
            with backups.server.connect(RDV) as session:
                session.execute("SET default_transaction_read_only = off")
                if "transaction_timeout" in settings:
                    session.execute("SET transaction_timeout = 0")
                with session.transaction():
                    session.execute("LOCK TABLE patient")
                    process = backups.start("backup.sh")
                    wait_for(lambda: is_waiting_for_a_lock(admin))
                    time.sleep(1.2)  # Longer than transaction_timeout.
                output, errors = process.communicate(timeout=DEADLINE_S)
            assert (process.returncode, errors) == (0, ""), output
            before = state(backups, RDV)
            assert backups.restore(backups.names()[-1], RDV).status == 0
            assert state(backups, RDV) == before
        finally:
            for name in settings:
                admin.execute(f"ALTER DATABASE {RDV} RESET {name}")
            admin.execute(f"ALTER ROLE {BACKUP} SET idle_in_transaction_session_timeout = '10min'")
            admin.execute(f"ALTER ROLE {BACKUP} RESET statement_timeout")


def test_newer_tools_restore_into_an_older_server(backups: Backups) -> None:
    """pg_restore 17 and newer sets transaction_timeout, which older servers don't know."""
    newest = SERVER_VERSIONS[-1]
    assert newest
    backups.environment["PATH"] = f"{runnable(newest).bin}:{os.environ['PATH']}"
    before = state(backups, RDV)
    outcome = backups.restore(backups.back_up(), RDV)
    assert (outcome.status, outcome.errors) == (0, "")
    assert state(backups, RDV) == before


def is_waiting_for_a_lock(admin: psycopg.Connection[tuple[object, ...]]) -> bool:
    return bool(
        admin.execute(
            "SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.usename = %s",
            [BACKUP],
        ).fetchall()
    )


@on_the_newest_server
def test_a_rehearsal_finds_what_a_restore_would_refuse_and_replaces_nothing(backups: Backups) -> None:
    """A generated column whose function doesn't name the schema of another one can be dumped, but not restored."""
    backups.back_up()
    before = state(backups, RDV, USER)
    outcome = backups.run("restore.sh", "--all", "--rehearse")
    assert (outcome.status, outcome.errors) == (0, "")
    assert outcome.output.count("every table has the rows of the manifest") == 2
    assert state(backups, RDV, USER) == before
    assert databases_on(backups) == [RDV, USER]

    with backups.task.connect(RDV, f"{RDV}_migrator") as migrator:
        migrator.execute("CREATE FUNCTION outer_name() RETURNS text IMMUTABLE LANGUAGE sql RETURN 'a'")
        migrator.execute(
            "CREATE FUNCTION slug() RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN outer_name(); END'"
        )
        migrator.execute("CREATE TABLE page (id int, slug text GENERATED ALWAYS AS (slug()) STORED)")
        migrator.execute("INSERT INTO page VALUES (1)")
        backups.back_up()
        outcome = backups.run("restore.sh", "--all", "--rehearse")
        assert outcome.status == 1
        assert "function outer_name() does not exist" in outcome.errors
        migrator.execute("DROP TABLE page")
        migrator.execute("DROP FUNCTION slug(), outer_name()")


# What a backup contains


@on_the_newest_server
def test_a_backup_contains_no_password(backups: Backups) -> None:
    name = backups.back_up()
    files = {path.name: path.read_bytes() for path in (backups.directory / name).iterdir()}
    databases = {f"{database}.{kind}" for database in (RDV, USER) for kind in ("dump", "catalog")}
    assert set(files) == {"manifest.json", "manifest.json.sha256", "globals.sql", "globals.catalog", *databases}
    assert f"CREATE ROLE {RDV}_app;".encode() in files["globals.sql"]
    for content in files.values():
        assert b"SCRAM-SHA-256" not in content
        for password in (ADMIN_PASSWORD, *backups.task.passwords.values()):
            assert password.encode() not in content


@on_the_newest_server
def test_the_manifest_describes_the_files(backups: Backups) -> None:
    name = backups.back_up()
    manifest = json.loads((backups.directory / name / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert manifest["time"] == datetime.strptime(name, "%Y%m%dT%H%M%SZ").strftime("%Y-%m-%dT%H:%M:%SZ")
    assert manifest["server"].startswith(str(backups.server.programs.major))
    for entry in (manifest["globals"], *manifest["catalogs"], *manifest["databases"]):
        content = (backups.directory / name / entry["file"]).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    [rdv, _] = manifest["databases"]
    with backups.server.connect(RDV) as admin:
        counted = {
            table: admin.execute(f"SELECT count(*) FROM ONLY {table}").fetchall()[0][0]  # noqa: S608
            for table in rdv["rows"]
        }
    assert rdv["rows"] == counted
    assert {"public.booking_early", 'public."Tenants %s"', "reports.daily"} <= set(counted)


@on_the_newest_server
def test_the_list_is_one_line_per_backup(backups: Backups) -> None:
    assert backups.run("backups.sh", "list").errors != ""
    names = [backups.back_up(), backups.back_up()]
    (backups.directory / names[0] / "manifest.json").unlink()
    first, second = backups.run("backups.sh", "list").output.splitlines()
    assert first == f"{names[0]}  damaged: its manifest is missing"
    assert re.fullmatch(rf"{names[1]}  PostgreSQL [\d.]+  \d+ bytes  {RDV} {USER}", second)
    listed = json.loads(backups.run("backups.sh", "list", "--json").output)
    assert [(one["name"], one["damage"]) for one in listed] == [(names[0], "its manifest is missing"), (names[1], None)]
    assert listed[1]["manifest"] == json.loads((backups.directory / names[1] / "manifest.json").read_text())


@on_the_newest_server
def test_the_exporter_reports_the_time_of_the_last_complete_backup(backups: Backups) -> None:
    with backups.server.connect() as admin:
        admin.execute("TRUNCATE backups.last_success")
        name = backups.back_up()
        backups.environment["BACKUP_PASSWORD_FILE"] = "/nowhere"
        assert backups.run("backup.sh").status == 1
        query = QUERIES[METRIC]["query"]
        reported = {row[0]: datetime.fromtimestamp(float(row[1]), UTC) for row in admin.execute(query).fetchall()}
    manifest = json.loads((backups.directory / name / "manifest.json").read_text())
    assert reported == {one["name"]: datetime.fromisoformat(one["time"]) for one in manifest["databases"]}
    # The rules read the series that the exporter makes of these columns.
    columns = [next(iter(column)) for column in QUERIES[METRIC]["metrics"]]
    assert columns == ["database", "timestamp_seconds"]
    assert f"max by (database) ({METRIC}_timestamp_seconds)" in RULES.read_text()


@on_the_newest_server
def test_the_backup_role_can_only_write_its_records(backups: Backups) -> None:
    for database in (RDV, "postgres"):
        with backups.task.connect(database, BACKUP) as session:
            writable = session.execute(
                "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
                " WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' AND relkind IN ('r', 'p')"
                " AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')"
            ).fetchall()
            records = {("backups.last_success",), ("backups.last_drill",), ("tenants.last_audit",)}
            assert {*writable} == (records if database == "postgres" else set())


@on_the_newest_server
def test_another_database_is_reported_and_left_out(backups: Backups) -> None:
    with backups.server.connect() as admin:
        admin.execute("CREATE DATABASE reporting")
    outcome = backups.run("backup.sh")
    drop(backups, "reporting")
    assert outcome.status == 0
    assert "database reporting: not of the platform, not backed up\n" in outcome.output
    assert not list(backups.directory.glob("*/reporting.dump"))


# Refused and failed backups


def test_a_backup_without_every_row_fails(backups: Backups) -> None:
    with backups.server.connect() as admin:
        admin.execute(f"ALTER ROLE {BACKUP} NOBYPASSRLS")
        outcome = backups.run("backup.sh")
        admin.execute(f"ALTER ROLE {BACKUP} BYPASSRLS")
    assert outcome.status == 1
    assert "row-level security" in outcome.errors
    assert backups.names() == []


@on_the_newest_server
def test_large_objects_fail_the_backup_because_its_role_can_not_read_them(backups: Backups) -> None:
    with backups.server.connect(RDV) as admin:
        [(large,)] = admin.execute("SELECT lo_from_bytea(0, 'abc')").fetchall()
        outcome = backups.run("backup.sh")
        admin.execute("SELECT lo_unlink(%s)", [large])
    assert outcome.status == 1
    assert "permission denied for large object" in outcome.errors
    assert backups.names() == []


@on_the_newest_server
def test_a_missing_database_fails_the_backup(backups: Backups) -> None:
    backups.environment["BACKUP_DATABASES"] = f"{RDV} pti_lost"
    outcome = backups.run("backup.sh")
    assert outcome.status == 1
    assert "no database pti_lost" in outcome.errors
    assert backups.names() == []


@on_the_newest_server
def test_tools_older_than_the_server_are_refused(backups: Backups) -> None:
    tools = backups.task.home / "older"
    tools.mkdir()
    (tools / "pg_restore").write_text("#!/bin/sh\necho 'pg_restore (PostgreSQL) 9.6.24'\n")
    (tools / "pg_restore").chmod(0o755)
    backups.environment["PATH"] = f"{tools}:{backups.server.programs.bin}:{os.environ['PATH']}"
    outcome = backups.run("backup.sh")
    shutil.rmtree(tools)
    assert outcome.status == 1
    assert "pg_restore 9.6.24 is older than the server" in outcome.errors
    assert backups.names() == []


@on_the_newest_server
@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("BACKUP_DIR", "/nowhere/backups", "is its volume mounted?"),
        ("BACKUP_KEEP_COUNT", "0", "is not a number, at least 1"),
        ("BACKUP_KEEP_DAYS", "a week", "is not a number, at least 1"),
        ("BACKUP_PASSWORD_FILE", "/nowhere/password", "can't be read"),
        ("PGPORT", "1", "no response (waited 1 s"),
    ],
)
def test_an_impossible_backup_fails_with_the_reason(backups: Backups, variable: str, value: str, reason: str) -> None:
    backups.environment[variable] = value
    outcome = backups.run("backup.sh")
    assert outcome.status == 1
    assert reason in outcome.errors
    assert backups.names() == []


@on_the_newest_server
def test_a_full_volume_fails_the_backup_and_keeps_the_others(backups: Backups) -> None:
    """The volume has room for one backup and a growing part of the next, so that each step fails once."""
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root")
    first = backups.back_up()
    size_kib = sum(-(-path.stat().st_size // 4096) * 4 for path in (backups.directory / first).iterdir())
    steps = (0, size_kib // 2, size_kib - 8, size_kib - 4)
    failures = []
    for free_kib in steps:
        with small_volume(backups, first, size_kib + free_kib):
            outcome = backups.run("backup.sh")
            failures.append(outcome.errors)
            assert outcome.status == 1, outcome
            assert backups.names() == [first]
            assert backups.remains() == []
            assert backups.run("backups.sh", "verify").status == 0
    assert "KiB are free" in failures[0]
    # The remains of the failed runs don't prevent the next one.
    with small_volume(backups, first, size_kib * 3):
        backups.back_up()


@contextmanager
def small_volume(backups: Backups, first: str, size_kib: int) -> Iterator[None]:
    """Mount a small file system with a copy of the first backup over the volume."""
    volume = backups.directory.parent
    copy = backups.task.home / "copy"
    shutil.copytree(backups.directory / first, copy, dirs_exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kib}k,mode=777", "tmpfs", str(volume)], check=True)
    try:
        make_directory(backups)
        shutil.copytree(copy, backups.directory / first)
        own(backups.directory / first)
        yield
    finally:
        subprocess.run(["umount", str(volume)], check=True)
        shutil.rmtree(copy)


def make_directory(backups: Backups) -> None:
    """Create the directory that a first run would create."""
    backups.directory.mkdir(exist_ok=True)
    give_to_unprivileged_user(backups.directory)


def own(folder: Path) -> None:
    """Give a copied backup to the scripts' user."""
    give_to_unprivileged_user(folder, *folder.iterdir())


def copy_as(backups: Backups, name: str, source: str) -> Path:
    """Put a copy of a backup under another name, and return its path."""
    path = backups.directory / name
    shutil.copytree(backups.directory / source, path)
    own(path)
    return path


# Killed runs, and two at once


@on_the_newest_server
@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_backup_leaves_nothing_that_looks_like_one(backups: Backups, seed: int) -> None:
    started = time.monotonic()
    first = backups.back_up()
    duration_s = time.monotonic() - started
    choose = seeded(seed)
    for _ in range(4):
        process = backups.start("backup.sh")
        time.sleep(choose.uniform(0, duration_s))
        kill(process)
        assert backups.run("backups.sh", "verify").status == 0
    backups.back_up()
    assert first in backups.names()
    assert backups.remains() == []


@on_the_newest_server
@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_restore_can_be_run_again(backups: Backups, seed: int) -> None:
    before = state(backups, RDV, USER)
    name = backups.back_up()
    for database in (RDV, USER):
        add_rows(backups, database, seeded(seed))
    newer = state(backups, RDV, USER)
    started = time.monotonic()
    assert backups.run("restore.sh", "--all").status == 0
    duration_s = 4 * (time.monotonic() - started)
    choose = seeded(seed)
    for _ in range(3):
        process = backups.start("restore.sh", "--all", "--confirm", name)
        time.sleep(choose.uniform(0, duration_s))
        kill(process)
        # The server finishes the statement that it has received.
        wait_for(lambda: sessions_of(backups, "pti-restore") == 0)
        # All of them or none.
        assert state(backups, RDV, USER) in (before, newer)
    assert backups.restore(name).status == 0
    assert state(backups, RDV, USER) == before
    assert [one for one in databases_on(backups) if one.startswith("restoring")] == []


@on_the_newest_server
def test_two_runs_at_once_are_refused(backups: Backups) -> None:
    name = backups.back_up()
    with backups.server.connect(RDV) as admin, admin.transaction():
        admin.execute("LOCK TABLE patient")  # pg_dump waits for it.
        process = backups.start("backup.sh")
        wait_for(lambda: backups.remains() != [])
        for arguments in (["backup.sh"], ["restore.sh", "--all", "--confirm", name], ["restore.sh", "--drop-replaced"]):
            outcome = backups.run(*arguments)
            assert outcome.status == 1
            assert "another backup or restore is running" in outcome.errors
        assert backups.run("backups.sh", "list").status == 0
    output, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, "")
    assert len(backups.names()) == 2
    with lock(backups.directory):
        assert backups.run("backup.sh").status == 1
    assert len(backups.names()) == 2, output


def sessions_of(backups: Backups, application: str) -> int:
    with backups.server.connect() as admin:
        found = admin.execute("SELECT FROM pg_stat_activity WHERE application_name = %s", [application])
        return len(found.fetchall())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold the lock that the scripts take."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


# Damaged backups

DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": lambda backup: os.truncate(backup / f"{RDV}.dump", (backup / f"{RDV}.dump").stat().st_size // 2),
    "bit-flipped": lambda backup: flip_a_bit(backup / f"{RDV}.dump"),
    "empty": lambda backup: os.truncate(backup / f"{RDV}.dump", 0),
    "dump-missing": lambda backup: (backup / f"{RDV}.dump").unlink(),
    "manifest-missing": lambda backup: (backup / "manifest.json").unlink(),
    "checksum-missing": lambda backup: (backup / "manifest.json.sha256").unlink(),
    "manifest-bit-flipped": lambda backup: flip_a_bit(backup / "manifest.json"),
    "manifest-truncated": lambda backup: os.truncate(backup / "manifest.json", 300),
}


@on_the_newest_server
def test_a_damaged_backup_is_refused_before_anything_is_touched(backups: Backups) -> None:
    sound = backups.back_up()
    before = state(backups, RDV, USER)
    for number, (kind, damage) in enumerate(DAMAGES.items(), start=1):
        damaged = copy_as(backups, f"2020010{number}T000000Z", sound)
        damage(damaged)

        verified = backups.run("backups.sh", "verify", damaged.name)
        assert verified.status == 1, kind
        assert verified.output.startswith(f"{damaged.name}  damaged: ")
        for arguments in (["--all"], ["--database", RDV]):
            outcome = backups.run("restore.sh", *arguments, "--from", damaged.name, "--confirm", damaged.name)
            assert (outcome.status, outcome.output) == (1, ""), kind
            assert f"the backup {damaged.name} can't be used" in outcome.errors
    assert state(backups, RDV, USER) == before
    assert databases_on(backups) == [RDV, USER]
    verified = backups.run("backups.sh", "verify")
    assert verified.output.count("Z  damaged: ") == len(DAMAGES)
    assert f"{sound}  sound\n" in verified.output


@on_the_newest_server
def test_the_other_databases_of_a_damaged_backup_can_be_restored(backups: Backups) -> None:
    name = backups.back_up()
    flip_a_bit(backups.directory / name / f"{RDV}.dump")
    assert backups.restore(name, USER).status == 0


@on_the_newest_server
def test_an_unreadable_archive_with_a_correct_checksum_is_found(backups: Backups) -> None:
    name = backups.back_up()
    archive = backups.directory / name / f"{RDV}.dump"
    archive.write_bytes(archive.read_bytes()[:-2000])
    correct_checksums(backups.directory / name)
    verified = backups.run("backups.sh", "verify")
    assert verified.status == 1
    assert f"{RDV}.dump can't be read" in verified.output


@on_the_newest_server
def test_a_restore_with_other_row_counts_replaces_nothing(backups: Backups) -> None:
    name = backups.back_up()
    manifest = backups.directory / name / "manifest.json"
    manifest.write_text(re.sub(r'("public.patient": )\d+', r"\g<1>5000", manifest.read_text()))
    correct_checksums(backups.directory / name)
    before = state(backups, RDV, USER)

    outcome = backups.restore(name)

    assert outcome.status == 1
    assert '"public.patient": 5000 rows in the backup' in outcome.errors
    assert state(backups, RDV, USER) == before
    assert set(databases_on(backups)) - {RDV, USER} == {f"restoring_{RDV}"}
    assert backups.restore(backups.back_up()).status == 0
    assert f"restoring_{RDV}" not in databases_on(backups)


@on_the_newest_server
def test_a_missing_role_fails_the_restore_and_replaces_nothing(backups: Backups) -> None:
    with backups.server.connect(RDV) as admin:
        admin.execute("CREATE ROLE report")
        admin.execute("GRANT SELECT ON booking TO report")
        name = backups.back_up()
        admin.execute("DROP OWNED BY report")
        admin.execute("DROP ROLE report")
        before = state(backups, RDV)

        outcome = backups.restore(name, RDV)

        assert outcome.status == 1
        assert 'role "report" does not exist' in outcome.errors
        assert "globals.sql" in outcome.errors
        assert state(backups, RDV) == before
        assert backups.run("restore.sh", "--drop-replaced").output == f"database restoring_{RDV}: dropped\n"
        [command] = re.findall("^CREATE ROLE report;$", (backups.directory / name / "globals.sql").read_text(), re.M)
        admin.execute(command)
    assert backups.restore(name, RDV).status == 0
    with backups.server.connect(RDV) as admin:
        assert admin.execute("SELECT has_table_privilege('report', 'booking', 'SELECT')").fetchone() == (True,)
        backups.run("restore.sh", "--drop-replaced")
        admin.execute("DROP OWNED BY report")
        admin.execute("DROP ROLE report")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def correct_checksums(backup: Path) -> None:
    """Make the manifest describe the files as they are now."""
    manifest = backup / "manifest.json"
    text = manifest.read_text()
    for path in (backup / "globals.sql", *backup.glob("*.dump"), *backup.glob("*.catalog")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        text = re.sub(rf'("{path.name}".*?"sha256": ")[0-9a-f]+', rf"\g<1>{digest}", text)
    manifest.write_text(text)
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    (backup / "manifest.json.sha256").write_text(f"{digest}  manifest.json\n")


# Retention


@on_the_newest_server
def test_only_old_backups_beyond_the_count_are_deleted(backups: Backups) -> None:
    backups.environment |= {"BACKUP_KEEP_COUNT": "3", "BACKUP_KEEP_DAYS": "10"}
    first = backups.back_up()
    old = [copy_as(backups, days_ago(days), first).name for days in (40, 30, 20, 9, 1)]
    assert backups.names() == [*old, first]

    backups.environment["PGPORT"] = "1"
    assert backups.run("backup.sh").status == 1
    assert backups.names() == [*old, first]

    del backups.environment["PGPORT"]
    name = backups.back_up()
    assert backups.names() == [*old[3:], first, name]


@on_the_newest_server
def test_the_count_keeps_backups_of_any_age(backups: Backups) -> None:
    backups.environment |= {"BACKUP_KEEP_COUNT": "4", "BACKUP_KEEP_DAYS": "1"}
    first = backups.back_up()
    old = [copy_as(backups, days_ago(days), first).name for days in (40, 30, 20)]
    name = backups.back_up()
    assert backups.names() == [*old[1:], first, name]


@on_the_newest_server
def test_a_clock_that_is_behind_does_not_delete_the_new_backup(backups: Backups) -> None:
    backups.environment |= {"BACKUP_KEEP_COUNT": "1", "BACKUP_KEEP_DAYS": "1"}
    first = backups.back_up()
    ahead = copy_as(backups, days_ago(-400), first).name
    name = backups.back_up()
    assert backups.names() == [first, name, ahead]


@on_the_newest_server
def test_a_damaged_backup_does_not_take_the_place_of_a_sound_one(backups: Backups) -> None:
    backups.environment |= {"BACKUP_KEEP_COUNT": "2", "BACKUP_KEEP_DAYS": "10"}
    first = backups.back_up()
    old, damaged, shortened = (copy_as(backups, days_ago(days), first) for days in (40, 30, 20))
    (damaged / "manifest.json").unlink()
    os.truncate(shortened / f"{RDV}.dump", 10)
    shutil.rmtree(backups.directory / first)
    outcome = backups.run("backup.sh")
    assert outcome.status == 0, outcome
    assert old.name in backups.names()
    assert f"backup {shortened.name}: damaged, and not counted: {RDV}.dump" in outcome.output
    backups.back_up()
    assert len(backups.names()) == 2
    assert backups.run("backups.sh", "verify").status == 0


@on_the_newest_server
def test_the_newest_backup_is_the_last_one_whatever_its_clock_was(backups: Backups) -> None:
    first = backups.back_up()
    ahead = copy_as(backups, days_ago(-400), first).name
    name = backups.back_up()
    assert f"--from {name} --confirm" in backups.run("restore.sh", "--all").output
    listed = [line.split()[0] for line in backups.run("backups.sh", "list").output.splitlines()]
    assert listed == [first, ahead, name]


def days_ago(days: int) -> str:
    """Return the name of a backup of this age."""
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y%m%dT%H%M%SZ")

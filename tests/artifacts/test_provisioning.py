"""The provisioning task with real servers: on an empty server, again, after changes, and with invalid input."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import yaml

from settings.catalog import SERVICES
from settings.credentials import app_role_credential, migrator_role_credential
from settings.stores.postgres import POSTGRES_BACKUP
from tests.artifacts.postgres_server import (
    ADMIN,
    ADMIN_PASSWORD,
    DEADLINE_S,
    Installation,
    Server,
    give_to_unprivileged_user,
    running_server,
)
from tests.artifacts.provisioning_task import ASSETS, BACKUP, Outcome, Task, dump, task_for
from tests.artifacts.versions import on_the_newest_server
from tests.failures import FailureRecord
from tests.full_run import only_in_full_runs
from tests.ports import free_port

TENANT = "11111111-1111-4111-8111-111111111111"
DATABASE = SERVICES[0].database


def catalog(task: Task, *databases: str) -> str:
    """Return every role with its verifier, every grant, and every object of these databases."""
    schemas = [dump(task.server, "pg_dump", "--create", "--schema-only", database) for database in databases]
    return "\n".join([dump(task.server, "pg_dumpall", "--globals-only"), *schemas])


# What provisioning creates


def test_role_names_match_the_credentials(platform: Task) -> None:
    """Other parts of the project look up passwords by these names; `Credential.well_known` happens to be the role's
    name."""
    logins = {
        role(service).well_known for service in SERVICES for role in (app_role_credential, migrator_role_credential)
    }
    assert set(platform.passwords) == {*logins, POSTGRES_BACKUP.well_known}


def test_each_role_has_its_attributes_and_no_more(platform: Task) -> None:
    with platform.server.connect() as admin:
        roles = admin.execute(
            "SELECT rolname, rolcanlogin, rolinherit, rolbypassrls,"
            " rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication,"
            " ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = r.oid)"
            " FROM pg_roles r WHERE rolname LIKE %s OR rolname = %s ORDER BY rolname",
            [f"{DATABASE}\\_%", BACKUP],
        ).fetchall()
    reserved = ["pg_use_reserved_connections"] if platform.server.programs.major >= 16 else []
    assert roles == [
        (BACKUP, True, True, True, False, ["pg_read_all_data", *reserved]),
        (f"{DATABASE}_app", True, True, False, False, []),
        (f"{DATABASE}_migrator", True, False, False, False, [f"{DATABASE}_owner"]),
        (f"{DATABASE}_owner", False, True, False, False, []),
    ]


def test_only_the_service_and_the_backup_may_connect(platform: Task) -> None:
    with platform.server.connect() as admin:
        granted = admin.execute(
            "SELECT grantee::regrole::text, privilege_type FROM pg_database, aclexplode(datacl)"
            " WHERE datname = %s AND grantee <> datdba ORDER BY 1",
            [DATABASE],
        ).fetchall()
    assert granted == [(role, "CONNECT") for role in (BACKUP, f"{DATABASE}_app", f"{DATABASE}_migrator")]


def test_the_default_databases_of_the_server_are_closed(platform: Task) -> None:
    for own in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            platform.connect(own, f"{DATABASE}_app")
        platform.connect(own, BACKUP).close()


@only_in_full_runs
def test_replication_and_monitoring_can_still_connect_to_the_default_database(
    server: Server, installation: Installation
) -> None:
    database = f"replicated_{installation.major}"
    foreign_roles = {"replicating": "REPLICATION", "watching": "IN ROLE pg_monitor", "somebody": ""}
    with task_for(server, database) as task, server.connect() as admin:
        for role, what in foreign_roles.items():
            admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'theirs' {what}")
        try:
            findings = [f"database postgres: {role} may connect" for role in ("replicating", "watching")]
            assert set(findings) <= set(task.run().lines_about("database postgres"))
            assert task.run().lines_about("database postgres") == []
            for role in ("replicating", "watching"):
                server.connect("postgres", role, "theirs").close()
                with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                    server.connect(database, role, "theirs")
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                server.connect("postgres", "somebody", "theirs")
        finally:
            admin.execute(f"DROP OWNED BY {', '.join(foreign_roles)}")
            admin.execute(f"DROP ROLE {', '.join(foreign_roles)}")


@only_in_full_runs
def test_the_monitor_exists_only_with_a_password(server: Server, installation: Installation) -> None:
    database = f"monitored_{installation.major}"
    with task_for(server, database) as task, server.connect() as admin:
        monitor = "SELECT pg_has_role(oid, 'pg_monitor', 'USAGE') FROM pg_roles WHERE rolname = 'pti_monitor'"
        assert task.run().status == 0
        assert admin.execute(monitor).fetchall() == []

        task.passwords["pti_monitor"] = "watch"
        assert task.run().lines_about("role pti_monitor") == [
            "role pti_monitor: created",
            "role pti_monitor: password set",
        ]
        assert admin.execute(monitor).fetchall() == [(True,)]
        task.connect(database, "pti_monitor").close()
        for table in (
            "backups.last_success VALUES (%s, now())",
            "backups.last_drill VALUES (%s, 'backup', now(), 0, now())",
            "tenants.last_audit VALUES (%s, now(), 2)",
        ):
            admin.execute(f"INSERT INTO {table}".encode(), [database])
        with task.connect("postgres", "pti_monitor") as session:
            for name, metric in yaml.safe_load((ASSETS / "exporter_queries.yml").read_text()).items():
                found = session.execute(metric["query"])
                columns = [column.name for column in found.description or ()]
                assert columns == [key for one in metric["metrics"] for key in one], name
                rows = found.fetchall()
                if columns[0] == "database":
                    assert database in {row[0] for row in rows}
                else:
                    # About the archive, which this server doesn't have.
                    assert [[int(value) for value in row] for row in rows] == [[0] * len(columns)]

        del task.passwords["pti_monitor"]
        kept = "role pti_monitor: no password file, password unchanged"
        assert task.run().lines_about("role pti_monitor") == [kept]
        admin.execute(f"REVOKE CONNECT ON DATABASE {database} FROM pti_monitor")
        admin.execute("DROP OWNED BY pti_monitor")
        admin.execute("DROP ROLE pti_monitor")


@only_in_full_runs
def test_a_restored_dump_of_the_backup_role_keeps_tenants_isolated(
    task: Task, provisioned: Outcome, database: str
) -> None:
    with task.connect(database, f"{database}_migrator") as migrator, task.server.connect(database) as admin:
        migrator.execute("CREATE TABLE booking (tenant_id uuid, room text)")
        admin.execute("INSERT INTO booking VALUES (%s, 'blue')", [TENANT])
    archive = task.scratch / "archive"
    dump(task.server, "pg_dump", "-Fc", "-f", str(archive), database, user=BACKUP, password=task.passwords[BACKUP])

    with task.server.connect() as admin:
        admin.execute(f"DROP DATABASE {database}")
    dump(task.server, "pg_restore", "--create", "--exit-on-error", "-d", "postgres", str(archive))
    assert task.run().lines_about(f"database {database}:", f"audit {database}:") == [
        f"database {database}: unchanged",
        f"audit {database}: no findings",
    ]
    with task.connect(database, f"{database}_app") as app, task.server.connect(database) as admin:
        assert app.execute("SELECT * FROM booking").fetchall() == []
        assert len(admin.execute("SELECT * FROM booking").fetchall()) == 1


# Repeated runs


def test_a_second_run_reports_no_change(platform: Task) -> None:
    databases = [service.database for service in SERVICES]
    before = catalog(platform, *databases)
    outcome = platform.run()
    assert outcome.status == 0
    assert outcome.errors == ""
    assert [line for line in outcome.output.splitlines() if not line.endswith("not in the table, kept")][1:] == [
        "server: unchanged",
        *(f"database {database}: unchanged" for database in databases),
        f"passwords: {2 * len(databases) + 1} unchanged",
        *(f"audit {database}: no findings" for database in databases),
        "provisioning: done",
    ]
    assert catalog(platform, *databases) == before


def test_provisioning_reports_what_it_created_and_cleans_up(provisioned: Outcome, task: Task, database: str) -> None:
    assert provisioned.lines_about(f"database {database}:", f"role {database}_", f"audit {database}:") == [
        f"role {database}_owner: created",
        f"role {database}_migrator: created",
        f"role {database}_app: created",
        f"database {database}: created",
        f"role {database}_migrator: becomes {database}_owner at login",
        f"role {database}_migrator: password set",
        f"role {database}_app: password set",
        f"audit {database}: no findings",
    ]
    assert list(task.scratch.iterdir()) == []


def test_a_new_password_replaces_the_old_one(provisioned: Outcome, task: Task, database: str) -> None:
    role, old = f"{database}_app", task.passwords[f"{database}_app"]
    task.passwords[role] = "the new one"
    outcome = task.run()
    assert outcome.lines_about("role ", "passwords") == [f"role {role}: password set", "passwords: 2 unchanged"]
    task.connect(database, role).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        task.server.connect(database, role, old)


@on_the_newest_server
@only_in_full_runs
def test_a_login_without_a_password_check_is_not_trusted(provisioned: Outcome, task: Task, database: str) -> None:
    role = f"{database}_app"
    task.passwords[role] = "the new one"
    with trust_authentication(task.server, database, role):
        outcome = task.run()
    assert f"role {role}: password set" in outcome.output
    task.connect(database, role).close()


@contextmanager
def trust_authentication(server: Server, database: str, role: str) -> Iterator[None]:
    """Let every role into this database without a password, as official images do on their own loopback address."""

    def accepts_any_password() -> bool:
        try:
            server.connect(database, role, "wrong").close()
        except psycopg.OperationalError:
            return False
        return True

    with server.connect() as admin:
        rules = Path(str(admin.execute("SHOW hba_file").fetchall()[0][0]))
        before = rules.read_text()
        try:
            rules.write_text(f"host {database} all 127.0.0.1/32 trust\n{before}")
            admin.execute("SELECT pg_reload_conf()")
            _until(accepts_any_password)
            yield
        finally:
            rules.write_text(before)
            admin.execute("SELECT pg_reload_conf()")
            _until(lambda: not accepts_any_password())


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@only_in_full_runs
def test_concurrent_runs_do_not_conflict(task: Task, database: str, failure_record: FailureRecord) -> None:
    failure_record.begin(
        "Three provisioning tasks run at the same time", on="PostgreSQL", effect="nothing: they run one after the other"
    )
    runs = [task.start() for _ in range(3)]
    for run in runs:
        output, errors = run.communicate(timeout=DEADLINE_S)
        assert (run.returncode, errors) == (0, ""), output
    assert task.run().lines_about(f"database {database}:") == [f"database {database}: unchanged"]
    failure_record.set_lost("nothing")


def test_the_next_run_completes_a_killed_one(task: Task, database: str, failure_record: FailureRecord) -> None:
    failure_record.begin(
        "The database provisioning task is killed", on="PostgreSQL", effect="the next update finishes it"
    )
    with task.server.connect() as admin:
        admin.execute(f"CREATE ROLE {database}_migrator")
        admin.execute(f"CREATE DATABASE {database}")
    with failure_record.measure_recovery():
        outcome = task.run()
    assert outcome.status == 0
    assert outcome.lines_about(f"database {database}:") == [
        f"database {database}: now belongs to {database}_owner",
        f"database {database}: CONNECT revoked from PUBLIC",
        f"database {database}: TEMPORARY revoked from PUBLIC",
        f"database {database}: {database}_app may connect",
        f"database {database}: {database}_migrator may connect",
        f"database {database}: {BACKUP} may connect",
    ]
    with task.connect(database, f"{database}_migrator") as migrator:
        assert migrator.execute("SELECT current_user").fetchone() == (f"{database}_owner",)
    failure_record.set_lost("nothing")


@only_in_full_runs
def test_a_database_that_was_removed_from_the_table_is_kept_and_reported(
    provisioned: Outcome, task: Task, database: str
) -> None:
    with task_for(task.server, f"{database}_next") as later:
        kept = later.run().lines_about(f"database {database}:")
    assert kept == [f"database {database}: not in the table, kept"]
    task.connect(database, f"{database}_app").close()


# A server with unexpected settings


def test_existing_tables_are_isolated(task: Task, database: str) -> None:
    with task.server.connect() as admin:
        admin.execute(f"CREATE DATABASE {database}")
    with task.server.connect(database) as admin:
        admin.execute("CREATE TABLE booking (tenant_id uuid, room text)")
        admin.execute("CREATE VIEW rooms AS SELECT room FROM booking")
        admin.execute("CREATE TABLE old (tenant_id text)")
        admin.execute("INSERT INTO booking VALUES (%s, 'blue')", [TENANT])
    outcome = task.run()
    assert f"database {database}: table public.booking is now isolated" in outcome.output
    assert f"database {database}: view public.rooms is now security_invoker" in outcome.output
    assert f"audit {database}: public.old: its column tenant_id of type text can't isolate it" in outcome.output

    with task.server.connect(database) as admin:
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {database}_app")
    with task.connect(database, f"{database}_app") as app:
        assert app.execute("SELECT * FROM booking").fetchall() == []
        assert app.execute("SELECT * FROM rooms").fetchall() == []
        app.execute("SELECT set_config('app.tenant_id', %s, false)", [TENANT])
        assert app.execute("SELECT room FROM rooms").fetchall() == [("blue",)]


def test_weakened_tables_are_repaired(provisioned: Outcome, task: Task, database: str) -> None:
    with task.connect(database, f"{database}_migrator") as migrator:
        migrator.execute("CREATE TABLE booking (tenant_id uuid); CREATE TABLE guest (tenant_id uuid)")
    with task.server.connect(database) as admin:
        admin.execute("ALTER EVENT TRIGGER tenancy_guard DISABLE")
        admin.execute("ALTER TABLE booking NO FORCE ROW LEVEL SECURITY")
        admin.execute("ALTER POLICY tenant_isolation ON guest USING (true)")
    assert task.run().lines_about(f"database {database}:", f"audit {database}:") == [
        f"database {database}: table public.booking is now isolated",
        f"database {database}: table public.guest is now isolated",
        f"audit {database}: no findings",
    ]


ADDITIONAL_PRIVILEGES = {
    "ALTER ROLE {0}_app SUPERUSER CREATEDB BYPASSRLS": "role {0}_app: now NOSUPERUSER NOCREATEDB NOBYPASSRLS",
    "ALTER ROLE {0}_owner LOGIN": "role {0}_owner: now NOLOGIN",
    "GRANT {0}_owner TO {0}_app": "role {0}_app: no longer a member of {0}_owner",
    "ALTER ROLE {0}_app SET app.tenant_id = '{1}'": "role {0}_app: no longer has a default tenant",
    "ALTER ROLE {0}_migrator IN DATABASE {0} SET app.tenant_id = '{1}'": (
        "role {0}_migrator: no longer has a default tenant"
    ),
    "ALTER DATABASE {0} SET app.tenant_id = '{1}'": "database {0}: no longer has a default tenant",
    "GRANT TEMP ON DATABASE {0} TO {0}_app": "database {0}: TEMPORARY revoked from {0}_app",
    "GRANT CONNECT ON DATABASE {0} TO PUBLIC": "database {0}: CONNECT revoked from PUBLIC",
    "GRANT CONNECT ON DATABASE {0} TO pti_user_app": "database {0}: CONNECT revoked from pti_user_app",
    "GRANT CREATE ON SCHEMA public TO {0}_app": "database {0}: {0}_app may no longer create in schema public",
    "GRANT CREATE ON SCHEMA public TO PUBLIC": "database {0}: PUBLIC may no longer create in schema public",
    "GRANT TRUNCATE ON booking TO {0}_app": "database {0}: TRUNCATE on public.booking revoked from {0}_app",
}


@only_in_full_runs
def test_additional_grants_are_revoked(platform: Task, provisioned: Outcome, task: Task, database: str) -> None:
    with task.connect(database, f"{database}_migrator") as migrator:
        migrator.execute("CREATE TABLE booking (tenant_id uuid)")
    before = catalog(task, database)
    with task.server.connect(database) as admin:
        for command in ADDITIONAL_PRIVILEGES:
            admin.execute(command.format(database, TENANT).encode())
    output = task.run().output.splitlines()
    assert [line for line in ADDITIONAL_PRIVILEGES.values() if line.format(database) not in output] == []
    assert catalog(task, database) == before


def test_a_service_cannot_make_the_superuser_run_its_function(provisioned: Outcome, task: Task, database: str) -> None:
    with task.connect(database, f"{database}_migrator") as migrator:
        migrator.execute(
            "CREATE FUNCTION public.format(text, name) RETURNS text LANGUAGE sql"
            " RETURN 'ALTER ROLE CURRENT_USER SET app.slipped = ''yes'''"
        )
        migrator.execute("CREATE TABLE booking (id int)")
        migrator.execute(
            f"GRANT TRUNCATE ON booking TO {database}_app; GRANT CREATE ON SCHEMA public TO {database}_app"
        )
    assert task.run().status == 0
    assert "slipped" not in dump(task.server, "pg_dumpall", "--globals-only")


# Passwords

SPECIAL_PASSWORDS = [
    "it's",
    '"quoted"',
    "back\\slash\\",
    "$HOME $(id) `id` ${IFS}",
    " leading and trailing ",
    "%s%n\\n\\0",
    "-c",
    "*?[a-z]{x}~#!&|<>()^=+,.@/;",
    ":'role' :\"role\" a:b\\:c",
    "\\password",
    "pässwörd ☃",
    "x" * 300,
    "' || pg_sleep(9) --",
    "\\",
]


@on_the_newest_server
@only_in_full_runs
def test_any_printable_password_works_and_none_is_printed(server: Server, database: str) -> None:
    databases = [f"{database}_{number}" for number in range(len(SPECIAL_PASSWORDS) // 2)]
    with task_for(server, *databases) as task:
        logins = [role for role in task.passwords if role != BACKUP]
        task.passwords.update(zip(logins, SPECIAL_PASSWORDS, strict=True))
        arguments = task.scratch / "arguments"
        task.environment["PATH"] = f"{recording_programs(task, arguments)}:{server.programs.bin}:{os.environ['PATH']}"
        log_start = server.log.stat().st_size
        first, second = task.run(), task.run()
        assert second.lines_about("passwords") == [f"passwords: {len(SPECIAL_PASSWORDS) + 1} unchanged"], second.errors
        for role in logins:
            task.connect(role.rpartition("_")[0], role).close()

        with server.log.open() as log:
            log.seek(log_start)
            seen = [first.output, first.errors, second.output, second.errors, arguments.read_text(), log.read()]
    assert "--file" in seen[4], "the recorders were called"
    assert "DO $$" in seen[5], "the server logs every statement"
    for text in seen:
        assert "SCRAM-SHA-256$4096" not in text
        for password in (password for password in SPECIAL_PASSWORDS if len(password) > 4):
            assert password not in text


def recording_programs(task: Task, log: Path) -> Path:
    """Create stand-ins for the programs of the task, which record their arguments and then run the real program."""
    log.touch()
    give_to_unprivileged_user(log)
    folder = task.home / "recorders"
    folder.mkdir()
    for name in ("psql", "pg_isready", "setsid", "cat", "tr", "rm", "date", "mktemp"):
        own = task.server.programs.bin / name
        real = own if own.exists() else shutil.which(name)
        script = folder / name
        script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$0 $*" >>{log}\nexec {real} "$@"\n')
        script.chmod(0o755)
    return folder


@only_in_full_runs
@on_the_newest_server
def test_provisioning_never_prompts_for_a_password(task: Task, database: str) -> None:
    run = task.start("script", "--quiet", "--return", "--command", f"sh {task.program}", "/dev/null")
    output, _ = run.communicate(timeout=DEADLINE_S)
    assert run.returncode == 0, output
    assert f"role {database}_app: password set" in output
    task.connect(database, f"{database}_app").close()


@on_the_newest_server
@only_in_full_runs
def test_the_administrator_password_may_come_from_a_passfile(task: Task) -> None:
    passfile = task.scratch / "passfile"
    passfile.write_text("*:*:*:postgres:" + re.sub(r"([\\:])", r"\\\1", ADMIN_PASSWORD))
    passfile.chmod(0o600)
    give_to_unprivileged_user(passfile)
    task.environment = {"PGPASSFILE": str(passfile), "PGPASSWORD_FILE": ""}
    outcome = task.run()
    assert outcome.status == 0, outcome.errors


# Mistakes


def test_a_missing_password_stops_provisioning_before_any_change(task: Task, database: str) -> None:
    del task.passwords[f"{database}_app"]
    before = dump(task.server, "pg_dumpall", "--globals-only")
    outcome = task.run()
    assert outcome.status == 1
    assert f"{database}_app can't be read: every login role needs a password file" in outcome.errors
    assert dump(task.server, "pg_dumpall", "--globals-only") == before


@on_the_newest_server
@pytest.mark.parametrize(
    ("password", "complaint"),
    [("", "is empty"), ("two\nlines", "a line break or another control character"), ("tab\there", "control character")],
)
def test_an_unusable_password_is_refused(task: Task, database: str, password: str, complaint: str) -> None:
    task.passwords[f"{database}_app"] = password
    outcome = task.run()
    assert outcome.status == 1
    assert f"{database}_app" in outcome.errors
    assert complaint in outcome.errors
    assert password == "" or password not in outcome.errors


@on_the_newest_server
@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("", 'no line "service database connections" in it'),
        ("# only a comment\n", 'no line "service database connections" in it'),
        ("user\n", 'line 1: expected "service database connections", got only "user"'),
        ("user pti_user 5\nuser pti_user 5 x\n", 'line 2: expected "service database connections", got more: x'),
        ("user pti_user\n", 'line 1: connections of pti_user: "" is not a number of connections, at least 1'),
        ("user pti_user 0\n", '"0" is not a number of connections, at least 1'),
        ("user pti_user -1\n", '"-1" is not a number of connections, at least 1'),
        ("user pti_user 1;\n", '"1;" is not a number of connections, at least 1'),
        ("user Pti_User\n", 'line 1: "Pti_User" is not a name'),
        ("user ../../etc/passwd\n", 'line 1: "../../etc/passwd" is not a name'),
        ("user pti-user\n", 'line 1: "pti-user" is not a name'),
        ("user x';DROP\n", "is not a name"),
        ("user postgres\n", "line 1: postgres belongs to the server"),
        ("a pti_user 1\n\nb pti_user 1\n", "line 3: pti_user is listed twice"),
        (f"user {'x' * 51}\n", "is longer than 50 characters"),
    ],
)
def test_an_invalid_table_is_refused_with_the_line(task: Task, table: str, complaint: str) -> None:
    task.table = table
    outcome = task.run()
    assert outcome.status == 1
    assert complaint in outcome.errors
    assert outcome.output == ""


@on_the_newest_server
@only_in_full_runs
def test_comments_blank_lines_and_a_missing_last_newline_are_accepted(task: Task, database: str) -> None:
    task.table = f"# services\n\n   planning\t{database} 3   # the calendar"
    outcome = task.run()
    assert outcome.status == 0, outcome.errors
    assert f"database {database}: created" in outcome.output


@on_the_newest_server
def test_a_missing_table_is_reported(task: Task) -> None:
    task.environment["PROVISION_TABLE"] = "/nowhere/databases"
    outcome = task.run()
    assert (outcome.status, "PROVISION_TABLE: /nowhere/databases can't be read" in outcome.errors) == (1, True)


@on_the_newest_server
@only_in_full_runs
def test_a_timeout_names_the_unreachable_server(task: Task) -> None:
    port = free_port()
    task.environment = {"PGPORT": str(port), "PROVISION_WAIT_S": "1"}
    outcome = task.run()
    assert outcome.status == 1
    assert f"127.0.0.1:{port} - no response (waited 1 s: PROVISION_WAIT_S)" in outcome.errors


@on_the_newest_server
@only_in_full_runs
def test_provisioning_waits_for_a_server_that_starts_later(task: Task, installation: Installation) -> None:
    port = free_port()
    task.environment["PGPORT"] = str(port)
    run = task.start()
    assert run.stdout is not None
    assert run.stdout.readline().startswith("server: waiting up to 60 s")
    with running_server(installation, port):
        output, errors = run.communicate(timeout=DEADLINE_S)
    assert run.returncode == 0, errors
    assert "database postgres: closed to PUBLIC\ndatabase template1: closed to PUBLIC\n" in output


@on_the_newest_server
def test_a_timeout_that_is_not_a_number_is_refused(task: Task) -> None:
    for name in ("PROVISION_WAIT_S", "PROVISION_LOGIN_WAIT_S"):
        task.environment = {name: "1m"}
        assert f'{name}: "1m" is not a number of seconds' in task.run().errors


def test_a_wrong_administrator_password_is_reported(task: Task) -> None:
    task.environment["PGPASSWORD_FILE"] = str(task.secret("admin", "not this"))
    outcome = task.run()
    assert outcome.status == 1
    assert 'password authentication failed for user "postgres"' in outcome.errors


@on_the_newest_server
@only_in_full_runs
def test_provisioning_can_wait_for_a_password_that_is_set_later(task: Task, installation: Installation) -> None:
    port, password = free_port(), "what an operator is about to set"
    task.environment = {
        "PGPORT": str(port),
        "PGPASSWORD_FILE": str(task.secret("admin", password)),
        "PROVISION_LOGIN_WAIT_S": "60",
    }
    with running_server(installation, port) as server:
        run = task.start()
        assert run.stdout is not None
        first_line = run.stdout.readline()
        assert first_line.startswith("server: waiting up to 60 s, ")
        assert 'password authentication failed for user "postgres"' in first_line
        with server.connect("postgres", ADMIN, ADMIN_PASSWORD) as connection:
            connection.execute(f"ALTER ROLE {ADMIN} PASSWORD '{password}'")
        output, errors = run.communicate(timeout=DEADLINE_S)
    assert run.returncode == 0, errors
    assert "provisioning: done\n" in output


@on_the_newest_server
@only_in_full_runs
def test_a_password_that_is_never_set_is_reported(task: Task) -> None:
    task.environment = {
        "PGPASSWORD_FILE": str(task.secret("admin", "not this")),
        "PROVISION_LOGIN_WAIT_S": "1",
    }
    outcome = task.run()
    assert outcome.status == 1
    assert 'password authentication failed for user "postgres"' in outcome.errors
    assert "(waited 1 s: PROVISION_LOGIN_WAIT_S)" in outcome.errors


def test_an_administrator_that_is_not_a_superuser_is_refused(platform: Task, task: Task) -> None:
    task.environment = {"PGUSER": BACKUP, "PGPASSWORD_FILE": str(task.secret("backup", task.passwords[BACKUP]))}
    outcome = task.run()
    assert outcome.status == 1
    assert f"the administrator {BACKUP} is not a superuser" in outcome.errors

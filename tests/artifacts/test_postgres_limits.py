"""How far one PostgreSQL client can affect the others: connections, locks, time."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from settings.catalog import SERVICES
from tests.artifacts.postgres_server import ADMIN_PASSWORD, Installation, Server
from tests.artifacts.postgres_start import container, until
from tests.artifacts.provisioning_task import BACKUP, CONNECTIONS, Outcome, Task, task_for
from tests.artifacts.versions import on_the_newest_server
from tests.failures import FailureRecord
from tests.full_run import only_in_full_runs

MONITOR = "pti_monitor"
OTHER_DATABASE = "pti_other"
DATABASE = SERVICES[0].database

pytestmark = only_in_full_runs


def limits(task: Task, database: str) -> dict[str, int]:
    """Map each role to its connection limit."""
    with task.server.connect() as admin:
        found = admin.execute(
            "SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname LIKE %s OR rolname = %s",
            [f"{database}\\_%", BACKUP],
        )
        return {str(role): int(limit) for role, limit in found}


# Connections


def test_each_role_has_its_limit_and_it_is_restored(provisioned: Outcome, task: Task, database: str) -> None:
    expected = {f"{database}_owner": -1, f"{database}_migrator": 2, f"{database}_app": CONNECTIONS, BACKUP: 10}
    assert limits(task, database) == expected
    with task.server.connect() as admin:
        admin.execute(f"ALTER ROLE {database}_app CONNECTION LIMIT -1")
    assert f"role {database}_app: now CONNECTION LIMIT {CONNECTIONS}" in task.run().output.splitlines()
    assert limits(task, database) == expected


def test_a_changed_number_in_the_table_changes_the_limit(provisioned: Outcome, task: Task, database: str) -> None:
    task.table = f"user {database} 17\n"
    assert task.run().lines_about(f"role {database}_app") == [f"role {database}_app: now CONNECTION LIMIT 17"]
    assert limits(task, database)[f"{database}_app"] == 17


def test_a_server_with_too_few_connections_is_refused_before_any_change(task: Task, database: str) -> None:
    task.table = f"user {database} 90\n"
    task.environment["PROVISION_REQUIRE_CONNECTIONS"] = "true"
    outcome = task.run()
    assert outcome.status == 1
    assert "the services, the monitor and the backup may open 102 connections, and the server has 97" in outcome.errors
    assert "raise its max_connections, or lower services.databasePoolMax" in outcome.errors
    assert limits(task, database).keys() <= {BACKUP}

    task.table = f"user {database} 80\n"
    assert task.run().status == 0


@on_the_newest_server
@pytest.mark.parametrize("name", ["MIGRATOR", "BACKUP", "MONITOR"])
def test_an_invalid_limit_is_refused(task: Task, name: str) -> None:
    task.environment[f"PROVISION_{name}_CONNECTIONS"] = "many"
    outcome = task.run()
    assert outcome.status == 1
    assert f'PROVISION_{name}_CONNECTIONS: "many" is not a number of connections, at least 1' in outcome.errors


@pytest.fixture(scope="module")
def small_server(image_installation: Installation) -> Iterator[tuple[Task, str]]:
    """A server with 40 connections, of which 15 are reserved and 5 are for superusers, and two services with 9
    connections each."""
    database = "pti_greedy"
    with container(image_installation) as one:
        one.password = ADMIN_PASSWORD
        one.settings = {
            "max_connections": "40",
            "superuser_reserved_connections": "5",
            "reserved_connections": "15",
        }
        one.start_and_connect().close()
        server = Server(one.port, one.home / "log", one.programs)
        with task_for(server, database, OTHER_DATABASE) as task:
            task.table = f"greedy {database} 9\nother {OTHER_DATABASE} 9\n"
            task.passwords[MONITOR] = "monitor"
            outcome = task.run()
            assert outcome.status == 0, outcome.errors
            yield task, database


def test_a_service_with_all_its_connections_blocks_no_other_role(
    small_server: tuple[Task, str], failure_record: FailureRecord
) -> None:
    effect = "PostgreSQL refuses that service more connections; no other role is affected"
    failure_record.begin("A service opens all of its connections", on="PostgreSQL", effect=effect)
    task, busy = small_server
    with ExitStack() as open_:
        for _ in range(9):
            open_.enter_context(task.connect(busy, f"{busy}_app"))
        with pytest.raises(psycopg.OperationalError, match=f'too many connections for role "{busy}_app"'):
            task.connect(busy, f"{busy}_app")
        for _ in range(9):
            open_.enter_context(task.connect(OTHER_DATABASE, f"{OTHER_DATABASE}_app"))
        open_.enter_context(task.connect(OTHER_DATABASE, f"{OTHER_DATABASE}_migrator"))
        for role in (MONITOR, BACKUP):
            open_.enter_context(task.connect("postgres", role))
        open_.enter_context(task.server.connect())
    failure_record.set_lost("nothing")


def test_monitor_backup_and_operators_can_connect_to_a_full_server(small_server: tuple[Task, str]) -> None:
    task, _ = small_server
    with task.server.connect() as admin, ExitStack() as open_:
        admin.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
        admin.execute("GRANT CONNECT ON DATABASE postgres TO stranger")

        def open_all_connections() -> None:
            while True:
                open_.enter_context(task.server.connect("postgres", "stranger", "stranger"))

        with pytest.raises(psycopg.OperationalError, match="remaining connection slots are reserved"):
            open_all_connections()
        for role, limit in ((MONITOR, 5), (BACKUP, 10)):
            for _ in range(limit):
                open_.enter_context(task.connect("postgres", role))
        open_.enter_context(task.server.connect())


# Time

EXPECTED_TIMEOUTS = {
    "app": {"statement_timeout": "20s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "30s"},
    "migrator": {"statement_timeout": "10min", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "1min"},
}


def test_a_session_has_the_time_limits_of_its_role(platform: Task) -> None:
    of_17 = {"app": {"transaction_timeout": "2min"}, "migrator": {"transaction_timeout": "10min"}}
    for kind, expected in EXPECTED_TIMEOUTS.items():
        wanted = expected | (of_17[kind] if platform.server.programs.major >= 17 else {})
        with platform.connect(DATABASE, f"{DATABASE}_{kind}") as session:
            found = {name: session.execute(f"SHOW {name}".encode()).fetchone() for name in wanted}
        assert found == {name: (value,) for name, value in wanted.items()}
    with platform.connect("postgres", BACKUP) as session:
        assert session.execute("SHOW lock_timeout").fetchone() == ("1min",)
        assert session.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_defaults_that_a_role_changed_for_itself_are_restored(provisioned: Outcome, task: Task, database: str) -> None:
    role = f"{database}_app"
    with task.connect(database, role) as session:
        session.execute(f"ALTER ROLE {role} SET statement_timeout = 0")
        session.execute(f"ALTER ROLE {role} IN DATABASE {database} SET lock_timeout = 0")
        session.execute(f"ALTER ROLE {role} SET work_mem = '5MB'")
    assert task.run().lines_about(f"role {role}") == [
        f"role {role}: statement_timeout is now 20s",
        f"role {role}: its own lock_timeout in database {database} was reset",
    ]
    with task.connect(database, role) as session:
        found = [session.execute(f"SHOW {name}").fetchone() for name in ("statement_timeout", "lock_timeout")]
        assert found == [("20s",), ("10s",)]
        assert session.execute("SHOW work_mem").fetchone() == ("5MB",), "what is none of the task's business stays"
    assert task.run().lines_about(f"role {role}") == []


@contextmanager
def hung_client(task: Task, database: str, idle_s: int) -> Iterator[None]:
    """Stop an application client in a transaction that has read the table."""
    role = f"{database}_app"
    client = subprocess.Popen(
        [str(task.server.programs.bin / "psql"), "--no-psqlrc", "--quiet", f"--dbname={database}"],
        env={
            "PGHOST": "127.0.0.1",
            "PGPORT": str(task.server.port),
            "PGUSER": role,
            "PGPASSWORD": task.passwords[role],
            "PGOPTIONS": f"-c idle_in_transaction_session_timeout={idle_s}s",
            "PGAPPNAME": "hung",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert client.stdin is not None
    client.stdin.write(b"BEGIN; SELECT count(*) FROM booking;\n")
    client.stdin.flush()
    try:
        with task.server.connect() as admin:
            until(
                lambda: (
                    admin.execute(
                        "SELECT FROM pg_stat_activity WHERE application_name = 'hung' AND state = 'idle in transaction'"
                    ).rowcount
                )
            )
        os.kill(client.pid, signal.SIGSTOP)
        yield
    finally:
        client.kill()
        client.wait()


@on_the_newest_server
def test_a_hung_client_and_a_migration_block_readers_only_briefly(
    provisioned: Outcome, task: Task, database: str, failure_record: FailureRecord
) -> None:
    """The migrator waits for the client, and every reader waits for the migrator, but no longer than its
    `lock_timeout`."""
    effect = "readers wait for at most 5 s; the migration retries until the server has ended the client's session"
    failure_record.begin("A hung client holds a lock that a migration needs", on="PostgreSQL", effect=effect)
    with task.connect(database, f"{database}_migrator") as migrator:
        migrator.execute("CREATE TABLE booking (tenant_id uuid, title text)")
    change = "ALTER TABLE booking ADD COLUMN room text"
    refused: list[psycopg.Error] = []

    def migrate() -> None:
        with task.connect(database, f"{database}_migrator") as migrator:
            try:
                migrator.execute(change)
            except psycopg.Error as error:
                refused.append(error)

    with hung_client(task, database, idle_s=20), task.server.connect() as admin:
        waiting = threading.Thread(target=migrate)
        waiting.start()
        until(
            lambda: (
                admin.execute(
                    "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = %s",
                    [f"{database}_migrator"],
                ).rowcount
            )
        )
        with task.connect(database, f"{database}_app") as reader:
            assert reader.execute("SELECT count(*) FROM booking").fetchone() == (0,)
        waiting.join()
        assert [type(one) for one in refused] == [psycopg.errors.LockNotAvailable]

        # The server ends the client's session by itself, and the next attempt succeeds.
        def migrated() -> bool:
            refused.clear()
            migrate()
            return not refused

        with failure_record.measure_recovery():
            until(migrated)
        failure_record.set_lost("nothing")

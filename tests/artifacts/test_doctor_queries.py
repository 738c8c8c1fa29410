"""The doctor's queries on real servers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import psycopg
import pytest

from operations.doctor.collations import changed_collations
from operations.doctor.context import Context
from operations.doctor.finding import Finding, Instance
from operations.doctor.postgres import connections, old_backups
from operations.doctor.wal import wal_backlog
from operations.runtimes import Runtime
from settings import Settings
from tests.artifacts.postgres_server import ADMIN, Installation, Server, running_server
from tests.artifacts.provisioning_task import Task, dump
from tests.full_run import only_in_full_runs


@dataclass
class LocalRuntime:
    """Runs psql of a test server's installation instead of the one in a container."""

    server: Server
    running: list[Instance] = field(default_factory=lambda: [Instance("postgres", "pti-postgres-dev")])

    def instances(self, stack: str) -> list[Instance]:
        """Implement the runtime's method."""
        return self.running

    def execute(self, stack: str, instance: Instance, command: Sequence[str]) -> str:
        """Implement the runtime's method."""
        program, *arguments = command
        return dump(self.server, program, *arguments)


def context(server: Server, **settings: Any) -> Context:
    return Context("dev", Settings.model_validate(settings), cast(Runtime, LocalRuntime(server)))


def severities(found: Sequence[Finding], database: str) -> list[str]:
    """Return the severity of each finding that names the database."""
    return [one.severity for one in found if re.search(rf"\b{database}\b", one.problem)]


@only_in_full_runs
def test_a_database_is_reported_until_it_has_a_young_backup(task: Task, database: str) -> None:
    task.run()
    backed_up = context(task.server, backups={"enabled": True})
    assert severities([*old_backups(backed_up)], database) == ["warning"]
    assert severities([*old_backups(backed_up)], "postgres") == []

    with task.server.connect(ADMIN) as session:
        for hours, expected in ((25, []), (27, ["error"])):
            moment = datetime.now(UTC) - timedelta(hours=hours)
            session.execute("DELETE FROM backups.last_success WHERE database = %s", (database,))
            session.execute("INSERT INTO backups.last_success VALUES (%s, %s)", (database, moment))
            assert severities([*old_backups(backed_up)], database) == expected


@pytest.mark.parametrize(("limit_reached", "expected"), [(False, []), (True, ["error"])])
def test_used_connections_are_counted(server: Server, limit_reached: bool, expected: list[str]) -> None:
    with server.connect() as session, ExitStack() as open_sessions:
        row = session.execute("SELECT setting::int - 3 FROM pg_settings WHERE name = 'max_connections'").fetchone()
        assert row is not None
        for _ in range(row[0] - 3 if limit_reached else 1):
            open_sessions.enter_context(server.connect())
        assert [one.severity for one in connections(context(server))] == expected


def test_a_replication_slot_without_a_receiver_is_reported(server: Server) -> None:
    with server.connect() as session:
        assert [*wal_backlog(context(server))] == []
        session.execute("SELECT pg_create_physical_replication_slot('archive', true)")
        try:
            (found,) = wal_backlog(context(server))
        finally:
            session.execute("SELECT pg_drop_replication_slot('archive')")
    assert (found.severity, found.subject) == ("warning", "replication slot archive")
    assert "no receiver" in found.problem


@only_in_full_runs
def test_a_lost_replication_slot_is_an_error(installation: Installation) -> None:
    with running_server(installation) as server, server.connect() as session:
        session.execute("SELECT pg_create_physical_replication_slot('archive', true)")
        session.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        session.execute("ALTER SYSTEM SET max_wal_size = '32MB'")
        session.execute("SELECT pg_reload_conf()")
        for _ in range(4):
            session.execute("SELECT pg_logical_emit_message(false, 'test', 'x'), pg_switch_wal()")
        session.execute("CHECKPOINT")
        (found,) = wal_backlog(context(server))
    assert (found.severity, found.subject) == ("error", "replication slot archive")


def test_a_changed_collation_is_reported_until_it_is_refreshed(task: Task, database: str) -> None:
    """The recorded version is changed, as if the operating system had another one."""
    task.run()
    with task.server.connect(database) as session:
        provider, locale = locale_of(session)
        for name in ("named", "unused"):
            session.execute(f"CREATE COLLATION {name} (provider = {provider}, locale = '{locale}')")
        session.execute("CREATE TABLE word (word text COLLATE named)")
        assert [*changed_collations(context(task.server))] == []
        session.execute("UPDATE pg_collation SET collversion = '0' WHERE collname IN ('named', 'unused')")
        [found] = changed_collations(context(task.server))
        assert (found.severity, found.problem.partition(": ")[2]) == ("warning", f"public.named in {database}.")
        session.execute("ALTER COLLATION named REFRESH VERSION")
        assert [*changed_collations(context(task.server))] == []


def test_a_changed_default_collation_is_reported_until_it_is_refreshed(task: Task) -> None:
    with task.server.connect() as session:
        provider, locale = locale_of(session)
        option = f"LOCALE_PROVIDER {provider} {provider}_LOCALE '{locale}'"
        session.execute(f"CREATE DATABASE changed TEMPLATE template0 {option}")
        try:
            assert [*changed_collations(context(task.server))] == []
            session.execute("UPDATE pg_database SET datcollversion = '0' WHERE datname = 'changed'")
            [found] = changed_collations(context(task.server))
            assert found.problem.endswith(": the default of changed.")
            session.execute("ALTER DATABASE changed REFRESH COLLATION VERSION")
            assert [*changed_collations(context(task.server))] == []
        finally:
            session.execute("DROP DATABASE changed")


def locale_of(session: psycopg.Connection[Any]) -> tuple[str, str]:
    """Return a provider and a locale with a version: the platform's, or before PostgreSQL 17 one of ICU."""
    return ("builtin", "C.UTF-8") if session.info.server_version >= 170000 else ("icu", "de")

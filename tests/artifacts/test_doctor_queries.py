"""The doctor's queries on real servers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from operations.doctor.context import Context
from operations.doctor.finding import Finding, Instance
from operations.doctor.postgres import connections, old_backups
from operations.runtimes import Runtime
from settings import Settings
from tests.artifacts.postgres_server import ADMIN, Server
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

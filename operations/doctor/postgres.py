"""Checks of the PostgreSQL server and its backups, with queries in the server's container."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from operations.doctor.context import Context, NotRunning
from operations.doctor.finding import CommandFailed, Finding, Severity, unchecked
from operations.project import OperationError

WORKLOAD = "postgres"
WARNING_RATIO, ERROR_RATIO = 0.8, 0.95
CONNECTIONS_QUERY = (
    "SELECT count(*), current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int "
    "FROM pg_stat_activity WHERE backend_type = 'client backend'"
)

AGES_QUERY = """
SELECT d.datname, s.snapshot_at IS NOT NULL, extract(epoch FROM now() - coalesce(
    s.snapshot_at, (pg_stat_file(format('base/%s/PG_VERSION', d.oid))).modification))::bigint
FROM pg_database AS d JOIN pg_roles AS r ON r.oid = d.datdba
LEFT JOIN backups.last_success AS s ON s.database = d.datname
WHERE r.rolname = d.datname || '_owner' ORDER BY 1
"""
"""Each database that is backed up: its name, whether it has a backup, and the age in seconds of the backup, or of the
database without a backup."""


def connections(context: Context) -> Iterator[Finding]:
    """Yield a finding if the server refuses connections, or if nearly all are in use."""
    if context.settings.postgres.is_external:
        return
    try:
        ((used, limit),) = query(context, CONNECTIONS_QUERY)
    except NotRunning:
        return  # The check of the workloads reports it.
    except CommandFailed as error:
        yield Finding(
            "error",
            WORKLOAD,
            "PostgreSQL refuses a connection inside its own container.",
            f"make logs STACK={context.stack} SERVICE={WORKLOAD}; "
            "docs/runbook.md#postgresql-runs-but-refuses-or-delays-requests",
            output=str(error),
            effect_of=WORKLOAD,
        )
        return
    ratio = int(used) / max(1, int(limit))
    if ratio >= WARNING_RATIO:
        yield Finding(
            "error" if ratio >= ERROR_RATIO else "warning",
            WORKLOAD,
            f"{used} of {limit} connections are in use. When all are, new ones are refused.",
            "Find their users: SELECT usename, client_addr, count(*) FROM pg_stat_activity GROUP BY 1, 2 ORDER BY 3 "
            "DESC; end them, or raise postgres.maxConnections "
            "(docs/runbook.md#postgresql-runs-but-refuses-or-delays-requests)",
        )


def old_backups(context: Context) -> Iterator[Finding]:
    """Yield a finding if a database has no backup, or an old one. Without `backups.enabled`, nothing is checked."""
    if not context.settings.backups.enabled:
        return
    if context.settings.postgres.is_external:
        yield Finding(
            "unchecked",
            "backups",
            "The age of the backups is unknown: the server is external.",
            f"List them: make backups STACK={context.stack}",
        )
        return
    max_age_h = context.settings.backups.max_age_hours
    try:
        rows = query(context, AGES_QUERY)
    except OperationError as error:
        fix = f"List the backups: make backups STACK={context.stack}"
        yield unchecked("backups", error, fix, effect_of=WORKLOAD)
        return
    fix = (
        f"Take one now: make backup STACK={context.stack}. It prints why it fails. "
        "The last scheduled run: make status (docs/backups.md)"
    )
    ages = {database: (has_backup == "t", int(age_s)) for database, has_backup, age_s in rows}
    max_age_s = max_age_h * 3600
    groups: Sequence[tuple[Severity, str, Sequence[str]]] = (
        (
            "error",
            f"The last backup is older than {max_age_h} h (backups.maxAgeHours)",
            [f"{one} ({age_s // 3600} h)" for one, (found, age_s) in ages.items() if found and age_s > max_age_s],
        ),
        (
            "error",
            "There is no backup",
            [one for one, (found, age_s) in ages.items() if not found and age_s > max_age_s],
        ),
        (
            "warning",
            "There is no backup yet",
            [one for one, (found, age_s) in ages.items() if not found and age_s <= max_age_s],
        ),
    )
    for severity, problem, databases in groups:
        if databases:
            yield Finding(severity, "backups", f"{problem}: {', '.join(databases)}.", fix)


def query(context: Context, statement: str, *, database: str = "postgres") -> list[list[str]]:
    """Return the rows of a query of the superuser over the server's Unix socket.

    Raises:
        NotRunning: the server isn't running.
        CommandFailed: it refuses the connection or the query.
    """
    command = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-c", statement)
    return [line.split("|") for line in context.execute(WORKLOAD, *command).splitlines() if "|" in line]

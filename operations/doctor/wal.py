"""Checks the WAL that the PostgreSQL server keeps for the receivers of its replication slots."""

from __future__ import annotations

from collections.abc import Iterator

from operations.doctor.context import Context, NotRunning
from operations.doctor.finding import Finding, unchecked
from operations.doctor.postgres import WORKLOAD, query
from operations.project import OperationError

WARNING_MIB = 1024
"""A receiver that is further behind is reported, although it is connected."""

QUERY = """
SELECT slot_name, active, wal_status, coalesce(pg_wal_lsn_diff(
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn
), 0)::bigint / 1048576 FROM pg_replication_slots ORDER BY 1
"""
"""Each slot: its name, whether a receiver is connected, its state, and the MiB of WAL that the server keeps for it."""


def wal_backlog(context: Context) -> Iterator[Finding]:
    """Yield a finding for each replication slot that was given up, has no receiver, or is far behind."""
    if context.settings.postgres.is_external:
        return
    try:
        slots = query(context, QUERY)
    except NotRunning:
        return  # The check of the workloads reports it.
    except OperationError as error:
        yield unchecked("WAL", error, f"make logs STACK={context.stack} SERVICE={WORKLOAD}", effect_of=WORKLOAD)
        return
    for name, active, status, kept_mib in slots:
        if status == "lost":
            yield Finding(
                "error",
                f"replication slot {name}",
                "The server has removed WAL that its receiver still needs, because the receiver was away for too long.",
                "docs/runbook.md#a-replication-slot-was-lost-or-has-no-receiver",
            )
        elif active != "t" or int(kept_mib) > WARNING_MIB:
            receiver = "has a receiver that is behind" if active == "t" else "has no receiver"
            yield Finding(
                "warning",
                f"replication slot {name}",
                f"It {receiver}. The server keeps {kept_mib} MiB of WAL for it, on the disk of the databases.",
                "docs/runbook.md#a-replication-slot-was-lost-or-has-no-receiver",
            )

"""Events received from Kafka, counted in the service's own database.

Kafka delivers each at least once. A second delivery changes nothing, because the event's id is the row's key.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from .database import Database, act_for

KEEP = b"""
    INSERT INTO received_events (tenant_id, event_id, type)
    SELECT %s, * FROM unnest(%s::uuid[], %s::text[])
    ON CONFLICT (tenant_id, event_id) DO NOTHING
"""
COUNT = "SELECT type, count(*) AS events FROM received_events GROUP BY type"


@dataclass(frozen=True)
class ReceivedEvent:
    """The stored part of an event."""

    tenant: UUID
    identifier: UUID
    kind: str


class ReceivedEvents:
    """The events of all services."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, events: Sequence[ReceivedEvent]) -> None:
        """Store all of them, or raise and store none."""
        by_tenant: dict[UUID, list[ReceivedEvent]] = {}
        for event in events:
            by_tenant.setdefault(event.tenant, []).append(event)
        async with self._database.own_transaction() as connection:
            # Use the same order in every process, so that two processes that store the same events can't deadlock.
            for tenant, own in sorted(by_tenant.items()):
                ordered = sorted(own, key=lambda event: event.identifier)
                await act_for(connection, tenant)
                columns = ([event.identifier for event in ordered], [event.kind for event in ordered])
                await connection.execute(KEEP, (tenant, *columns))

    async def count(self, tenant: UUID) -> dict[str, int]:
        """Return the number of the tenant's events per type."""
        return {row["type"]: row["events"] for row in await self._database.read(tenant, COUNT)}

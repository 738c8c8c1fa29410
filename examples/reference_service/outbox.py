"""The outbox: the transaction that makes a change also inserts its event, which is published afterwards.

Requests never wait for Kafka, and an event exists if and only if its change was committed. `relay.py` publishes.

Row-level security applies to events: `outbox` shows one tenant's rows at a time. `outbox_waiting` has only positions
and tenants, so that a relay finds all tenants' events.

Order: a tenant belongs to one of 16 lanes, and one process at a time has the lease of a lane. Positions follow the
order of commits for one appointment, since a change locks its row before it adds its event. If a process dies, its
lease expires and the next process publishes its unconfirmed events: each event is published at least once.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from uuid import UUID, uuid4

import psycopg

from . import metrics
from .database import Database, act_for
from .logs import correlation

LANES = 16
"""Number of rows in `outbox_lanes`."""

BATCH = 100
LEASE_S = 15
"""Longer than a relay waits for Kafka, and than the client library retries an event."""

ADD = b"""
    WITH added AS (
        INSERT INTO outbox (tenant_id, appointment_id, body) VALUES (%(tenant)s, %(appointment)s, %(body)s)
        RETURNING position
    )
    INSERT INTO outbox_waiting (position, tenant, lane)
    SELECT position, %(tenant)s, %(lane)s FROM added
"""
LEASE = b"""
    UPDATE outbox_lanes SET holder = %(holder)s, leased_until = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE lane = (
        SELECT lane FROM outbox_lanes
        WHERE (
                holder IS NULL OR holder = %(holder)s
                -- A longer lease is from before the server's clock was set back.
                OR leased_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + make_interval(secs => %(seconds)s)
            )
            AND EXISTS (SELECT FROM outbox_waiting WHERE outbox_waiting.lane = outbox_lanes.lane)
        -- A time in the future is from before the clock was set back: it doesn't tell how long the lane has waited.
        ORDER BY leased_until <= clock_timestamp(), leased_until, lane LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING lane
"""
WAITING = b"SELECT position, tenant FROM outbox_waiting WHERE lane = %s ORDER BY position LIMIT %s"
EVENTS = b"SELECT position, appointment_id, body FROM outbox WHERE position = ANY(%s) ORDER BY position"
REMOVE_EVENTS = b"DELETE FROM outbox WHERE position = ANY(%s)"
REMOVE_WAITING = b"DELETE FROM outbox_waiting WHERE position = ANY(%s)"
RELEASE = b"""
    UPDATE outbox_lanes SET holder = NULL, leased_until = clock_timestamp() WHERE lane = %s AND holder = %s
"""
RELEASE_ALL = b"UPDATE outbox_lanes SET holder = NULL, leased_until = clock_timestamp() WHERE holder = %s"
BACKLOG = b"""
    SELECT count(*) AS events, coalesce(extract(epoch FROM clock_timestamp() - min(since)), 0)::float AS age
    FROM outbox_waiting
"""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event that hasn't been published yet."""

    position: int
    tenant: UUID
    appointment: UUID
    body: str


@dataclass(frozen=True)
class Leased:
    """The oldest events of a lane that this process alone publishes, for `LEASE_S`."""

    lane: int
    events: Sequence[Event]


class Outbox:
    """The outbox of this service's database, which all of its processes share."""

    def __init__(self, database: Database, service: str) -> None:
        self._database = database
        self._service = service
        self._holder = uuid4()
        self.added = asyncio.Event()
        """Set when this process has committed an event."""

    async def add(
        self, connection: psycopg.AsyncConnection[Any], kind: str, tenant: UUID, *, appointment_id: UUID, **body: object
    ) -> None:
        """Add an event to the caller's transaction, after the change that it reports."""
        event = {
            "id": str(uuid4()),
            "type": kind,
            "service": self._service,
            "tenant_id": str(tenant),
            "at": datetime.now(UTC).isoformat(),
            "correlation_id": correlation.get(),
            "appointment_id": str(appointment_id),
            **body,
        }
        parameters = {"tenant": tenant, "lane": tenant.int % LANES, "appointment": appointment_id}
        await connection.execute(ADD, {**parameters, "body": json.dumps(event)})

    async def lease(self) -> Leased | None:
        """Lease a lane with events; None if there is none, or other processes have them all."""
        async with self._database.own_transaction() as connection:
            cursor = await connection.execute(LEASE, {"holder": self._holder, "seconds": LEASE_S})
            leased = await cursor.fetchone()
            if leased is None:
                return None
            lane: int = leased["lane"]
            waiting = await (await connection.execute(WAITING, (lane, BATCH))).fetchall()
            events: list[Event] = []
            for tenant, rows in _by_tenant((row["tenant"], row["position"]) for row in waiting):
                await act_for(connection, tenant)
                found = await (await connection.execute(EVENTS, [rows])).fetchall()
                events += [
                    Event(position=row["position"], tenant=tenant, appointment=row["appointment_id"], body=row["body"])
                    for row in found
                ]
            # Events were deleted by hand: without this, the lane would be leased again and again.
            lost = {row["position"] for row in waiting} - {event.position for event in events}
            await connection.execute(REMOVE_WAITING, [[*lost]])
        return Leased(lane, sorted(events, key=lambda event: event.position))

    async def remove(self, leased: Leased, confirmed: Collection[Event]) -> None:
        """Remove the events that Kafka confirmed, and release the lease if none is left.

        An unconfirmed event may still arrive. The lease stays, so that no other process publishes later events first.
        """
        async with self._database.own_transaction() as connection:
            for tenant, positions in _by_tenant((event.tenant, event.position) for event in confirmed):
                await act_for(connection, tenant)
                await connection.execute(REMOVE_EVENTS, [positions])
            await connection.execute(REMOVE_WAITING, [[event.position for event in confirmed]])
            if len(confirmed) == len(leased.events):
                await connection.execute(RELEASE, (leased.lane, self._holder))

    async def release(self) -> None:
        """Release every lease of this process, which sends no more events."""
        async with self._database.own_transaction() as connection:
            await connection.execute(RELEASE_ALL, [self._holder])

    async def measure(self) -> None:
        """Update the metrics of the backlog, which are the same for every process."""
        async with self._database.own_transaction() as connection:
            row = await (await connection.execute(BACKLOG)).fetchone()
        assert row is not None  # noqa: S101 (an aggregate has one row)
        metrics.outbox_events.set(row["events"])
        metrics.outbox_age.set(row["age"])


def _by_tenant(pairs: Any) -> list[tuple[UUID, list[int]]]:
    ordered = sorted(pairs)
    return [(tenant, [position for _, position in rows]) for tenant, rows in groupby(ordered, key=lambda pair: pair[0])]

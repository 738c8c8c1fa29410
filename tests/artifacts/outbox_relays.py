"""Several relays of the reference service on one outbox, with a broker that may lose responses; run with its own
Python.

Arguments: `well`, `unsure` (some events arrive without a confirmation) or `dying` (a relay is killed while it sends
events). It prints the events that arrived, in order, as JSON: appointment and number of each event.
"""

# mypy: disable-error-code="import-not-found"
# mypy: allow-untyped-calls
from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from reference_service import logs, outbox
from reference_service.background import run_forever
from reference_service.database import Database
from reference_service.relay import Relay
from reference_service.settings import load_postgres

RELAYS = 3
WRITERS = 2
TENANTS = 8
APPOINTMENTS = 5
EVENTS = 6
"""Tenants, appointments per tenant, and events per appointment."""

DEADLINE_S = 60


class Broker:
    """Accepts events, and confirms most of them."""

    def __init__(self, mode: str) -> None:
        self.connected = asyncio.Event()
        self.connected.set()
        self.arrived: list[tuple[str, int]] = []
        self._mode = mode

    async def publish(self, tenant: UUID, body: str) -> None:
        """Stand in for `Events.publish`."""
        event = json.loads(body)
        await asyncio.sleep(random.uniform(0, 0.01))  # noqa: S311
        assert event["tenant_id"] == str(tenant)
        self.arrived.append((event["appointment_id"], event["number"]))
        if self._mode == "unsure" and random.random() < 0.05:  # noqa: S311
            raise ConnectionError


async def main(mode: str) -> None:
    """Add the events while the relays publish them, until none is left."""
    logs.set_up("rdv", "error")
    if mode == "dying":
        outbox.LEASE_S = 1
    postgres = load_postgres(os.environ)
    # Each relay has its own connections, as each replica has.
    database, *own = [Database(replace(postgres, pool_max=one)) for one in (WRITERS, *[1] * RELAYS)]
    for one in (database, *own):
        await one.open()
    broker = Broker(mode)
    # As in the service, a database error ends a relay, which is then restarted.
    relays = [
        asyncio.create_task(run_forever("relay", Relay(outbox.Outbox(one, "rdv"), broker).publish)) for one in own
    ]
    # No relay waits for a connection longer than the pool's timeout.
    writers = asyncio.Semaphore(WRITERS)
    adding = [asyncio.create_task(add_events(database, uuid4(), writers)) for _ in range(TENANTS)]
    if mode == "dying":
        while len(broker.arrived) < TENANTS:
            await asyncio.sleep(0.001)
        relays.pop().cancel()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*adding)
        while await remaining_events(database):
            await asyncio.sleep(0.1)
    for relay in relays:
        relay.cancel()
    await asyncio.gather(*relays, return_exceptions=True)
    for one in (database, *own):
        await one.close()
    print(json.dumps(broker.arrived))


async def add_events(database: Database, tenant: UUID, writers: asyncio.Semaphore) -> None:
    """Add each event in its own transaction; the events of an appointment are added in order."""
    box: Any = outbox.Outbox(database, "rdv")

    async def changes(appointment: UUID) -> None:
        for number in range(EVENTS):
            async with writers, database.transaction(tenant) as connection:
                await box.add(connection, "changed", tenant, appointment_id=appointment, number=number)

    await asyncio.gather(*(changes(uuid4()) for _ in range(APPOINTMENTS)))


async def remaining_events(database: Database) -> int:
    """Return the number of waiting events."""
    async with database.own_transaction() as connection:
        row = await (await connection.execute("SELECT count(*) AS events FROM outbox_waiting")).fetchone()
        assert row is not None
        return int(row["events"])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

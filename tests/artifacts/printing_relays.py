"""Two relays of the reference service that share its outbox and print each event on a line; run with its own Python."""

# mypy: disable-error-code="import-not-found"
# mypy: allow-untyped-calls
from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from uuid import UUID

from reference_service import logs
from reference_service.background import run_forever
from reference_service.database import Database
from reference_service.outbox import Outbox
from reference_service.relay import Relay
from reference_service.settings import load_postgres


class Printer:
    """Stands in for `Events`: every event is confirmed."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.connected.set()

    async def publish(self, tenant: UUID, body: str) -> None:
        """Stand in for `Events.publish`."""
        print(body, flush=True)


async def main() -> None:
    """Publish until the process is killed."""
    logs.set_up("rdv", "critical")
    databases = [Database(replace(load_postgres(os.environ), pool_max=1)) for _ in range(2)]
    for one in databases:
        await one.open()
    relays = [Relay(Outbox(one, "rdv"), Printer()) for one in databases]
    await asyncio.gather(*(run_forever("relay", one.publish) for one in relays))


asyncio.run(main())

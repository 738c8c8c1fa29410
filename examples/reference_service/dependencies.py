"""Dependencies of the routes: the open connections and the tenant."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import psycopg
from fastapi import Depends, Request

from .background import run_forever
from .cache import Cache
from .database import Database
from .events import Events
from .health import Health
from .outbox import Outbox
from .received import ReceivedEvents
from .relay import Relay
from .settings import Settings
from .tokens import tenant_of

RELEASE_TIMEOUT_S = 1
"""Maximum wait for the database at the stop; if it fails, the leases expire by themselves."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The connections of the process."""

    settings: Settings
    database: Database
    cache: Cache
    outbox: Outbox
    received: ReceivedEvents
    events: Events
    health: Health
    tasks: list[asyncio.Task[None]]

    @classmethod
    def of(cls, settings: Settings) -> Resources:
        """Return the resources, not connected yet."""
        database = Database(settings.postgres)
        cache = Cache(settings.redis, settings.service)
        received = ReceivedEvents(database)
        events = Events(settings.kafka, settings.service, received)
        return cls(
            settings=settings,
            database=database,
            cache=cache,
            outbox=Outbox(database, settings.service),
            received=received,
            events=events,
            health=Health({"postgres": database.check, "redis": cache.check, "kafka": events.check}),
            tasks=[],
        )

    async def open(self) -> None:
        """Start connecting; none of the servers needs to be available."""
        await self.database.open()
        relay = Relay(self.outbox, self.events)
        work = {
            "producer": self.events.produce,
            "consumer": self.events.consume,
            "relay": relay.publish,
            "backlog's measurement": relay.measure,
        }
        self.tasks.extend(asyncio.create_task(run_forever(name, one)) for name, one in work.items())

    async def close(self) -> None:
        """Stop the background work, then close the connections that it uses."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        with suppress(psycopg.Error, TimeoutError):
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                await self.outbox.release()
        await self.cache.close()
        await self.database.close()


def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


def _tenant(request: Request) -> UUID:
    return tenant_of(request.headers.get("authorization", ""), _resources(request).settings.tokens)


CurrentResources = Annotated[Resources, Depends(_resources)]
Tenant = Annotated[UUID, Depends(_tenant)]

"""What every route is handed: the open connections, and the tenant."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from .cache import Cache
from .database import Database
from .events import Events
from .health import Health
from .settings import Settings
from .tokens import tenant_of


@dataclass(frozen=True, kw_only=True)
class Resources:
    """One of each, for the life of the process."""

    settings: Settings
    database: Database
    cache: Cache
    events: Events
    health: Health

    @classmethod
    def of(cls, settings: Settings) -> Resources:
        """Nothing is connected yet."""
        database = Database(settings.postgres)
        cache = Cache(settings.redis, settings.service)
        events = Events(settings.kafka, settings.service, cache)
        health = Health({"database": database.check, "redis": cache.check, "kafka": events.check})
        return cls(settings=settings, database=database, cache=cache, events=events, health=health)

    async def open(self) -> None:
        """Starts connecting; none of them needs to be there."""
        await self.database.open()
        self.events.open()

    async def close(self) -> None:
        """Closes them, the users first."""
        await self.events.close()
        await self.cache.close()
        await self.database.close()


def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


def _tenant(request: Request) -> UUID:
    return tenant_of(request.headers.get("authorization", ""), _resources(request).settings.tokens)


Given = Annotated[Resources, Depends(_resources)]
Tenant = Annotated[UUID, Depends(_tenant)]

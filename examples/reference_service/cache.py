"""Redis: the tenants' lists for 30 seconds, and the counts of events.

All services share one Redis, so each key begins with the service's name.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import json
from dataclasses import dataclass
from uuid import UUID

from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from .logs import log
from .settings import Redis

LIST_S = 30
GENERATION_S = 3600
TIMEOUT_S = 1


@dataclass(frozen=True)
class Lookup:
    """What the cache had, and what `Cache.keep` needs to store what it hadn't."""

    generation: str
    body: str | None


class Cache:
    """Lists are a convenience: without Redis they come from the database. Counts exist here only, and then raise."""

    def __init__(self, redis: Redis, service: str) -> None:
        self._service = service
        self._client = Client(
            host=redis.host,
            port=redis.port,
            password=redis.password,
            ssl=redis.tls,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 1),  # once, at once: a connection that Redis's restart broke
            decode_responses=True,
        )

    async def check(self) -> None:
        """Raises unless Redis answers."""
        await self._client.ping()

    async def close(self) -> None:
        """Closes every connection."""
        await self._client.aclose()

    async def appointments(self, tenant: UUID) -> Lookup:
        """The tenant's list, if there is one that is still true."""
        try:
            generation, kept = await self._client.mget(self._generation(tenant), self._list(tenant))
        except RedisError as error:
            log.warning("cache unavailable: %s", type(error).__name__)
            return Lookup("", None)
        found = json.loads(kept) if kept else {}
        return Lookup(generation or "", found.get("body") if found.get("generation") == (generation or "") else None)

    async def keep(self, tenant: UUID, lookup: Lookup, body: str) -> None:
        """Stores the list under the generation that was current before it was read from the database.

        A change that came in between has raised the generation, so the list is never taken for a fresh one.
        """
        try:
            kept = json.dumps({"generation": lookup.generation, "body": body})
            await self._client.set(self._list(tenant), kept, ex=LIST_S)
        except RedisError as error:
            log.warning("cache unavailable: %s", type(error).__name__)

    async def forget(self, tenant: UUID) -> None:
        """After a change. Where Redis doesn't answer, a list may be old for up to 30 seconds."""
        try:
            async with self._client.pipeline() as pipeline:
                pipeline.incr(self._generation(tenant))
                pipeline.expire(self._generation(tenant), GENERATION_S)
                pipeline.delete(self._list(tenant))
                await pipeline.execute()
        except RedisError as error:
            log.warning("cache unavailable: %s", type(error).__name__)

    async def count_event(self, tenant: UUID, kind: str) -> None:
        """One more event of this kind."""
        await self._client.hincrby(f"{self._service}:events:{tenant}", kind, 1)

    async def events(self, tenant: UUID) -> dict[str, int]:
        """Kind of event to their number."""
        counts: dict[str, str] = await self._client.hgetall(f"{self._service}:events:{tenant}")
        return {kind: int(count) for kind, count in counts.items()}

    def _list(self, tenant: UUID) -> str:
        return f"{self._service}:appointments:{tenant}"

    def _generation(self, tenant: UUID) -> str:
        return f"{self._service}:appointments:{tenant}:generation"

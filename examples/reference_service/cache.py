"""Redis: cache of the tenants' lists for 30 seconds. It is optional: without Redis, they come from the database.

All services share one Redis, so each key begins with the service's name.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from .logs import log
from .settings import Redis

LIST_TTL_S = 30
GENERATION_TTL_S = 3600

TIMEOUT_S = 0.5
"""Maximum time that a request waits for Redis."""

RETRY_AFTER_S = 2.0
"""Seconds after a failure in which no request uses Redis, so that an outage delays only few requests."""

CHECK_S = 1

T = TypeVar("T")


@dataclass(frozen=True)
class Lookup:
    """The result of a cache lookup, and what `Cache.keep` needs to store a missing list."""

    generation: str
    body: str | None
    is_usable: bool = True
    """False if Redis is unavailable, so nothing can be stored."""


NO_LOOKUP = Lookup("", None, is_usable=False)


class Cache:
    """Cache in Redis. Only `check` raises if Redis is unavailable, slow or full."""

    def __init__(self, redis: Redis, service: str) -> None:
        self._service = service
        self._client = Client(
            host=redis.host,
            port=redis.port,
            password=redis.password,
            ssl=redis.tls,
            socket_timeout=CHECK_S,
            socket_connect_timeout=CHECK_S,
            retry=Retry(NoBackoff(), 1),  # one immediate retry, for a connection that a restart of Redis broke
            decode_responses=True,
        )
        self._pause_ends_at = 0.0
        self._outdated: dict[UUID, float] = {}
        """Tenants whose list in Redis may be stale after a change by this process, and since when."""

    async def check(self) -> None:
        """Raise unless Redis responds."""
        await self._client.ping()

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def appointments(self, tenant: UUID) -> Lookup:
        """Return the tenant's list, if it is cached and not stale."""
        if tenant in self._outdated and not await self.invalidate(tenant):
            return NO_LOOKUP
        found = await self._response(self._client.mget(self._generation(tenant), self._list(tenant)))
        if found is None:
            return NO_LOOKUP
        generation, kept = found[0] or "", json.loads(found[1]) if found[1] else {}
        return Lookup(generation, kept.get("body") if kept.get("generation") == generation else None)

    async def keep(self, tenant: UUID, lookup: Lookup, body: str) -> None:
        """Store the list under the generation that was current before it was read from the database.

        A change in between increased the generation, so the list never counts as fresh.
        """
        if lookup.is_usable:
            kept = json.dumps({"generation": lookup.generation, "body": body})
            await self._response(self._client.set(self._list(tenant), kept, ex=LIST_TTL_S))

    async def invalidate(self, tenant: UUID) -> bool:
        """Invalidate the tenant's list after a change. Return False if Redis didn't accept it.

        This process then doesn't use the tenant's list until Redis accepts the invalidation. Other processes may, for
        up to 30 seconds."""
        async with self._client.pipeline() as pipeline:
            pipeline.incr(self._generation(tenant))
            pipeline.expire(self._generation(tenant), GENERATION_TTL_S)
            pipeline.delete(self._list(tenant))
            is_taken = await self._response(pipeline.execute()) is not None
        now = time.monotonic()
        self._outdated = {one: since for one, since in self._outdated.items() if now - since < LIST_TTL_S}
        if is_taken:
            self._outdated.pop(tenant, None)
        else:
            self._outdated[tenant] = now
        return is_taken

    async def _response(self, answer: Awaitable[T]) -> T | None:
        """Return Redis' response; None if it fails or has failed recently."""
        if time.monotonic() < self._pause_ends_at:
            if asyncio.iscoroutine(answer):
                answer.close()
            return None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await answer
        except (RedisError, OSError, TimeoutError) as error:
            self._pause_ends_at = time.monotonic() + RETRY_AFTER_S
            log.warning("cache unavailable: %s", type(error).__name__)
            return None

    def _list(self, tenant: UUID) -> str:
        return f"{self._service}:appointments:{tenant}"

    def _generation(self, tenant: UUID) -> str:
        return f"{self._service}:appointments:{tenant}:generation"

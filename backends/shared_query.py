"""A query of a cluster or an engine whose result all waiters share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

PAUSE_FACTOR = 4
"""Minimum pause before the next query, as a multiple of the last one's duration, for large stacks and slow machines."""

Result = TypeVar("Result")


class SharedQuery(Generic[Result]):
    """The newest result, queried as rarely as its readers allow.

    Args:
        query: runs the query.
        poll_s: minimum number of seconds between two queries.
    """

    def __init__(self, query: Callable[[], Awaitable[Result]], *, poll_s: float) -> None:
        self._query = query
        self._poll_s = poll_s
        self._lock = asyncio.Lock()
        self._result: Result | None = None
        self._queried_at = float("-inf")
        self._took_s = 0.0

    async def result_since(self, since: float) -> Result:
        """Return the result of a query that began after `since` (of `monotonic`).

        Raises:
            Exception: whatever the query raises.
        """
        async with self._lock:
            pause_s = max(self._poll_s, PAUSE_FACTOR * self._took_s)
            if self._result is None or self._queried_at < since or monotonic() - self._queried_at >= pause_s:
                queried_at = monotonic()
                self._result = await self._query()
                self._queried_at, self._took_s = queried_at, monotonic() - queried_at
            return self._result

"""A query of a cluster or an engine whose result all waiters share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

SHARE = 4
"""Minimum pause before the next query, as a multiple of the last one's duration, for large stacks and slow machines."""

Answer = TypeVar("Answer")


class SharedAnswer(Generic[Answer]):
    """The newest result, queried as rarely as its readers allow.

    Args:
        ask: runs the query.
        poll_s: minimum of seconds between two queries.
    """

    def __init__(self, ask: Callable[[], Awaitable[Answer]], *, poll_s: float) -> None:
        self._ask = ask
        self._poll_s = poll_s
        self._lock = asyncio.Lock()
        self._answer: Answer | None = None
        self._asked_at = float("-inf")
        self._took_s = 0.0

    async def after(self, since: float) -> Answer:
        """Return the result of a query that began after `since` (of `monotonic`).

        Raises:
            Exception: whatever the query raises.
        """
        async with self._lock:
            pause_s = max(self._poll_s, SHARE * self._took_s)
            if self._answer is None or self._asked_at < since or monotonic() - self._asked_at >= pause_s:
                asked_at = monotonic()
                self._answer = await self._ask()
                self._asked_at, self._took_s = asked_at, monotonic() - asked_at
            return self._answer

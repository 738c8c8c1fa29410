"""One question to a cluster or an engine that serves all who wait for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

SHARE = 4
"""How much longer than the last answer took the next question waits, at the least: a large stack, or a slow machine."""

Answer = TypeVar("Answer")


class SharedAnswer(Generic[Answer]):
    """The newest answer, asked for as seldom as its readers allow.

    Args:
        ask: returns the answer.
        poll_s: seconds between two questions at the least.
    """

    def __init__(self, ask: Callable[[], Awaitable[Answer]], *, poll_s: float) -> None:
        self._ask = ask
        self._poll_s = poll_s
        self._lock = asyncio.Lock()
        self._answer: Answer | None = None
        self._asked_at = float("-inf")
        self._took_s = 0.0

    async def after(self, since: float) -> Answer:
        """Return an answer to a question that was asked after `since` (of `monotonic`).

        Raises:
            Exception: whatever the question raises.
        """
        async with self._lock:
            pause_s = max(self._poll_s, SHARE * self._took_s)
            if self._answer is None or self._asked_at < since or monotonic() - self._asked_at >= pause_s:
                asked_at = monotonic()
                self._answer = await self._ask()
                self._asked_at, self._took_s = asked_at, monotonic() - asked_at
            return self._answer

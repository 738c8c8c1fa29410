"""Background work, which is restarted with a growing back-off whenever it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from .logs import log

MIN_BACKOFF_S = 0.5
MAX_BACKOFF_S = 5.0
HEALTHY_AFTER_S = 60
"""Work that ran this long was healthy: the back-off starts again from the shortest pause."""


async def run_forever(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run work that should never end, and restart it whenever it does."""
    pause = MIN_BACKOFF_S
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await work()
        except Exception as error:
            log.warning("%s stopped: %s", name, type(error).__name__)
        if asyncio.get_running_loop().time() - started > HEALTHY_AFTER_S:
            pause = MIN_BACKOFF_S
        await asyncio.sleep(jittered(pause))
        pause = longer_pause(pause)


def longer_pause(pause: float) -> float:
    """Return the pause that follows this one."""
    return min(2 * pause, MAX_BACKOFF_S)


def jittered(pause: float) -> float:
    """Return the pause with jitter, so that replicas don't all retry at the same moment."""
    return pause * random.uniform(0.8, 1.2)  # noqa: S311 (hides nothing)

"""Background work, which is restarted with a growing back-off whenever it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from .logs import log

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
WELL_S = 60
"""Work that ran this long was healthy: the back-off starts again from the shortest pause."""


async def again_and_again(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run work that should never end, and restart it whenever it does."""
    pause = FIRST_PAUSE_S
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await work()
        except Exception as error:
            log.warning("%s stopped: %s", name, type(error).__name__)
        if asyncio.get_running_loop().time() - started > WELL_S:
            pause = FIRST_PAUSE_S
        await asyncio.sleep(spread(pause))
        pause = lengthened(pause)


def lengthened(pause: float) -> float:
    """Return the pause that follows this one."""
    return min(2 * pause, LONGEST_PAUSE_S)


def spread(pause: float) -> float:
    """Return the pause with jitter, so that replicas don't all retry at the same moment."""
    return pause * random.uniform(0.8, 1.2)  # noqa: S311 (hides nothing)

"""Work that goes on beside the requests, and is started again after growing pauses whenever it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from .logs import log

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
WELL_S = 60
"""Work that lasted this long was well: the pauses begin anew."""


async def again_and_again(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run work that should never end, each time it ends."""
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
    """The pause after this one."""
    return min(2 * pause, LONGEST_PAUSE_S)


def spread(pause: float) -> float:
    """About this long, so that replicas don't all try at the same moment."""
    return pause * random.uniform(0.8, 1.2)  # noqa: S311 (hides nothing)

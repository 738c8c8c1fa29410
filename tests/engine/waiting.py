"""Waiting for a condition instead of a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

DEADLINE_S = 180.0
"""Generous, because other work may use the machine's cores."""


def until(what: str, condition: Callable[[], Found | None], deadline_s: float = DEADLINE_S) -> Found:
    """Return the first result that is neither None, False nor empty.

    Raises:
        AssertionError: there was none before the deadline.
    """
    end = time.monotonic() + deadline_s
    while True:
        began = time.monotonic()
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {deadline_s:.0f} s")
        # After a check that starts a command, leave the machine as much time as the check took.
        time.sleep(max(0.02, time.monotonic() - began))

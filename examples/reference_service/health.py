"""Readiness: which dependencies respond, checked at most once per second and with a timeout.

The service can't work without its database. Without Redis or Kafka it works, and reports that it is degraded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from . import metrics
from .logs import log

REQUIRED = {"postgres"}

TIMEOUT_S = 2
CACHED_S = 1


class Health:
    """One check per dependency; a check that raises or takes over 2 seconds has failed."""

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        self._checks = checks
        self._turn = asyncio.Lock()
        self._report: dict[str, str] = {}
        self._asked_at = float("-inf")
        self._given_up: set[asyncio.Task[bool]] = set()

    async def report(self) -> dict[str, str]:
        """Return `ok` or `unavailable` per dependency, and update the metric."""
        async with self._turn:
            clock = asyncio.get_running_loop().time
            if clock() - self._asked_at > CACHED_S:
                before, self._report = self._report, await self._ask()
                self._asked_at = clock()
                for name, state in self._report.items():
                    metrics.dependency_up.labels(name).set(state == "ok")
                    if before.get(name) != state:
                        log.warning("%s: %s", name, state)
            return self._report

    async def _ask(self) -> dict[str, str]:
        tasks = {name: asyncio.create_task(_run(check)) for name, check in self._checks.items()}
        done, late = await asyncio.wait(tasks.values(), timeout=TIMEOUT_S)
        for task in late:
            # A check that timed out isn't awaited: a driver may take long to give up on a server that doesn't respond.
            task.cancel()
            self._given_up.add(task)
            task.add_done_callback(self._given_up.discard)
        return {name: "ok" if task in done and task.result() else "unavailable" for name, task in tasks.items()}


def status_of(report: Mapping[str, str]) -> str:
    """Return `ok`, `degraded`, or `unavailable` if a required dependency is unavailable."""
    unavailable = {name for name, state in report.items() if state != "ok"}
    if unavailable & REQUIRED:
        return "unavailable"
    return "degraded" if unavailable else "ok"


async def _run(check: Callable[[], Awaitable[None]]) -> bool:
    try:
        await check()
    except Exception:
        return False
    return True

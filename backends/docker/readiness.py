"""The wait for a store, which may have to recover its data first and ends as soon as the store can't start.

The provider's own wait belongs to the creation of the container: it lasts until the start time is up, however often the
process ends meanwhile; and once it has failed, the next update replaces the container, and ends a recovery that then
begins from the start. So nobody waits there. A record of its own comes after the container, and its hook waits: a
failed wait leaves no record, and the next update goes on waiting. As long as a store reports progress, so does this
one. `backends/kubernetes/rollout.py` does the same in a cluster.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Any

import pulumi

from backends.docker.engine import Engine
from backends.progress import progress
from backends.threads import Threads
from workloads import WorkloadError

POLL_S = 0.5

CRASHES = 3
"""Restarts from which on a container may count as crash-looping."""

CRASHING_S = 15.0
"""Seconds for which it must have been crashing: the engine's first restarts come within a second, and what it needs may
still be starting."""


@dataclass(frozen=True)
class Awaited:
    """A container that is waited for."""

    workload: str
    container: str
    startup_s: int
    """Seconds without progress after which the update gives up."""


class Readiness:
    """The records of which containers have been ready, and the hook that waits."""

    def __init__(self, engine: Engine, threads: Threads) -> None:
        self._engine = engine
        self._threads = threads
        self._awaited: dict[str, Awaited] = {}
        self._wait = pulumi.ResourceHook("docker-wait-until-ready", self._wait_until_ready)

    def record(self, awaited: Awaited, identity: pulumi.Input[str], *, parent: pulumi.Resource) -> pulumi.Stash:
        """Registers the record of a container, which is there once it is ready; another container is another wait."""
        name = f"{awaited.workload}-ready"
        self._awaited[name] = awaited
        hooks = pulumi.ResourceHookBinding(before_create=[self._wait], before_update=[self._wait])
        options = pulumi.ResourceOptions(parent=parent, hooks=hooks)
        return pulumi.Stash(name, input={"container": identity}, opts=options)

    async def _wait_until_ready(self, hook: pulumi.ResourceHookArgs) -> None:
        awaited = self._awaited[hook.name]
        deadline, shown = monotonic() + awaited.startup_s, ""
        crashes = _Crashes()
        while True:
            found = await self._threads.run(self._engine.container, awaited.container)
            if found is None:
                raise WorkloadError(f"{awaited.workload} is gone: there is no container '{awaited.container}'")
            health = found["State"].get("Health", {})
            if health.get("Status") == "healthy":
                return
            if (newest := _newest_progress(health)) and newest != shown:
                deadline, shown = monotonic() + awaited.startup_s, newest
                crashes = _Crashes()
                pulumi.log.info(f"{awaited.workload}: {newest}")
            if crashes.are_new(found):
                pulumi.log.warn(f"{awaited.workload} has ended, and is started again")
            if crashes.are_a_loop(found):
                raise WorkloadError(await self._crashed(awaited, found))
            if monotonic() > deadline:
                raise WorkloadError(await self._failure(awaited, shown))
            await asyncio.sleep(POLL_S)

    async def _crashed(self, awaited: Awaited, found: dict[str, Any]) -> str:
        lines = await self._threads.run(self._engine.last_lines, awaited.container)
        state = found["State"]
        ends = "has used all of its memory (OOMKilled)" if state.get("OOMKilled") else "keeps ending"
        return (
            f"{awaited.workload} {ends}: exit code {state.get('ExitCode')}, restarted {found['RestartCount']} times. "
            f"Its last lines:\n{lines or '(it wrote nothing)'}"
        )

    async def _failure(self, awaited: Awaited, shown: str) -> str:
        lines = await self._threads.run(self._engine.last_lines, awaited.container)
        state = f"has made no progress for {awaited.startup_s} s ({shown})" if shown else "did not become ready"
        return (
            f"{awaited.workload} {state}. It runs on: the next update goes on waiting. Its last lines:\n"
            f"{lines or '(it wrote nothing)'}"
        )


class _Crashes:
    """The restarts of a container since the wait for it began."""

    def __init__(self) -> None:
        self._before: int | None = None
        self._since: float | None = None

    def are_new(self, found: dict[str, Any]) -> bool:
        """Whether this is the first restart."""
        restarts = found.get("RestartCount", 0)
        self._before = restarts if self._before is None else self._before
        if restarts == self._before or self._since is not None:
            return False
        self._since = monotonic()
        return True

    def are_a_loop(self, found: dict[str, Any]) -> bool:
        """Whether the container has ended again and again, and waits for its next start."""
        if self._since is None or found.get("RestartCount", 0) < CRASHES or not found["State"].get("Restarting"):
            return False
        return monotonic() - self._since >= CRASHING_S


def _newest_progress(health: dict[str, Any]) -> str:
    """The newest report among the last health checks."""
    reports = (progress(str(check.get("Output", ""))) for check in reversed(health.get("Log") or []))
    return next(filter(None, reports), "")

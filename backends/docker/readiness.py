"""The wait for a store that may have to recover its data first.

The provider's own wait belongs to the creation of the container: once it has failed, the next update replaces the
container, and ends a recovery that then begins from the start. So nobody waits there. A record of its own comes after
the container, and its hook waits: a failed wait leaves no record, and the next update goes on waiting. As long as the
store reports progress, so does this one.
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
        while True:
            found = await self._threads.run(self._engine.container, awaited.container)
            if found is None:
                raise WorkloadError(f"{awaited.workload} is gone: there is no container '{awaited.container}'")
            health = found["State"].get("Health", {})
            if health.get("Status") == "healthy":
                return
            if (newest := _newest_progress(health)) and newest != shown:
                deadline, shown = monotonic() + awaited.startup_s, newest
                pulumi.log.info(f"{awaited.workload}: {newest}")
            if monotonic() > deadline:
                raise WorkloadError(await self._failure(awaited, shown))
            await asyncio.sleep(POLL_S)

    async def _failure(self, awaited: Awaited, shown: str) -> str:
        lines = await self._threads.run(self._engine.last_lines, awaited.container)
        state = f"has made no progress for {awaited.startup_s} s ({shown})" if shown else "did not become ready"
        return (
            f"{awaited.workload} {state}. It runs on: the next update goes on waiting. Its last lines:\n"
            f"{lines or '(it wrote nothing)'}"
        )


def _newest_progress(health: dict[str, Any]) -> str:
    """The newest report among the last health checks."""
    reports = (progress(str(check.get("Output", ""))) for check in reversed(health.get("Log") or []))
    return next(filter(None, reports), "")

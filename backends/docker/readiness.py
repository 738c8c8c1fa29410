"""Waits for a container, and stops as soon as the container can't become ready.

The provider's own wait is part of the container's creation: it lasts until the timeout, however often the process
exits. If it fails, the next update replaces the container, which interrupts a store's recovery. Therefore the provider
only waits for tasks (`hooks.py`). For every other container with a readiness probe, a separate record follows, whose
hook waits: a failed wait leaves no record, so the next update continues to wait. The wait continues as long as a store
reports progress. `backends/kubernetes/rollout.py` does the same in a cluster.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Any

import pulumi

from backends.base import DeployOptions
from backends.docker.engine import Engine
from backends.progress import progress
from backends.shared_query import SharedQuery
from backends.threads import Threads
from workloads import WorkloadError

POLL_S = 0.5

CRASH_LOOP_RESTARTS = 3
"""Number of restarts after which a container may count as crash-looping."""

CRASH_LOOP_S = 15.0
"""Seconds for which the container must have been crashing: the engine's first restarts follow within a second, and the
container's dependencies may still be starting."""

STOPPED_STATES = ("exited", "dead")
"""States of a container that was stopped by hand: the restart policy doesn't start it again."""


@dataclass(frozen=True)
class AwaitedContainer:
    """A container that the update waits for."""

    workload: str
    container: str
    startup_s: int
    """Seconds without progress after which the update gives up."""


class Readiness:
    """The records of containers that became ready, and the hook that waits for them."""

    def __init__(self, engine: Engine, threads: Threads, stack: str) -> None:
        self._engine = engine
        self._threads = threads
        self._stack = stack
        self._awaited: dict[str, AwaitedContainer] = {}
        self._containers = SharedQuery(self._list_containers, poll_s=POLL_S)
        self._wait = pulumi.ResourceHook("docker-wait-until-ready", self._wait_until_ready)

    def record(self, awaited: AwaitedContainer, identity: pulumi.Input[str], options: DeployOptions) -> pulumi.Stash:
        """Register the record of a container, which exists once it is ready. A new container is awaited again."""
        name = f"{awaited.workload}-ready"
        self._awaited[name] = awaited
        hooks = pulumi.ResourceHookBinding(before_create=[self._wait], before_update=[self._wait])
        return pulumi.Stash(name, input={"container": identity}, opts=options.resource_options(hooks=hooks))

    async def _list_containers(self) -> dict[str, dict[str, Any]]:
        return await self._threads.run(self._engine.containers, self._stack)

    async def _wait_until_ready(self, hook: pulumi.ResourceHookArgs) -> None:
        awaited = self._awaited[hook.name]
        began = monotonic()
        deadline, reported = began + awaited.startup_s, ""
        crashes = _CrashTracker()
        while True:
            found = (await self._containers.result_since(began)).get(awaited.container)
            if found is None:
                raise WorkloadError(f"{awaited.workload} is gone: there is no container '{awaited.container}'")
            health = found["State"].get("Health", {})
            if health.get("Status") == "healthy":
                return
            if (newest := _newest_progress(health)) and newest != reported:
                deadline, reported = monotonic() + awaited.startup_s, newest
                crashes = _CrashTracker()
                pulumi.log.info(f"{awaited.workload}: {newest}")
            if crashes.observe(found):
                pulumi.log.warn(f"{awaited.container} has exited and is restarted")
            if crashes.is_crash_looping or found["State"].get("Status") in STOPPED_STATES:
                raise WorkloadError(await self._crash_message(awaited, found))
            if monotonic() > deadline:
                raise WorkloadError(await self._timeout_message(awaited, reported))
            await asyncio.sleep(POLL_S)

    async def _crash_message(self, awaited: AwaitedContainer, found: dict[str, Any]) -> str:
        state = found["State"]
        if state.get("Status") in STOPPED_STATES:
            ends = "has been stopped"
        else:
            ends = "has used all of its memory (OOMKilled)" if state.get("OOMKilled") else "keeps crashing"
        # The current exit code of a container that runs again is 0.
        code = state.get("ExitCode")
        if state.get("Running") and not state.get("Restarting"):
            code = await self._threads.run(self._engine.last_exit_code, awaited.container)
        lines = await self._last_lines(awaited)
        return f"{awaited.container} {ends}: exit code {code}, restarted {found['RestartCount']} times. {lines}"

    async def _timeout_message(self, awaited: AwaitedContainer, reported: str) -> str:
        state = f"has made no progress for {awaited.startup_s} s ({reported})" if reported else "did not become ready"
        lines = await self._last_lines(awaited)
        return f"{awaited.container} {state}. It keeps running; the next update waits for it again. {lines}"

    async def _last_lines(self, awaited: AwaitedContainer) -> str:
        lines = await self._threads.run(self._engine.last_lines, awaited.container)
        return f"Its last lines:\n{lines or '(it wrote nothing)'}"


class _CrashTracker:
    """The exits of a container since the wait began."""

    def __init__(self) -> None:
        self._restarts: int | None = None
        self._since: float | None = None
        self.is_crash_looping = False
        """Whether the container is in a crash loop and has exited since the previous call of `observe`."""

    def observe(self, found: dict[str, Any]) -> bool:
        """Count an exit, and return whether it is the first one."""
        before, self._restarts = self._restarts, found.get("RestartCount", 0)
        has_ended = found["State"].get("Restarting") or (before is not None and self._restarts > before)
        if not has_ended:
            self.is_crash_looping = False
            return False
        is_first = self._since is None
        self._since = monotonic() if self._since is None else self._since
        self.is_crash_looping = self._restarts >= CRASH_LOOP_RESTARTS and monotonic() - self._since >= CRASH_LOOP_S
        return is_first


def _newest_progress(health: dict[str, Any]) -> str:
    """Return the newest progress report of the last health checks."""
    reports = (progress(str(check.get("Output", ""))) for check in reversed(health.get("Log") or []))
    return next(filter(None, reports), "")

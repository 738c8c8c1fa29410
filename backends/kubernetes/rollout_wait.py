"""Wait for one rollout.

Problems that may resolve by themselves, such as an unschedulable pod or the first crashes, are reported immediately,
but only fail the rollout at its timeout. Other problems end the wait: see `problems`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pulumi

from backends.kubernetes import kubectl
from backends.kubernetes.controllers import CONTROLLER_KINDS, rollout_timeout_s
from backends.kubernetes.observed import POLL_S, ObservedObjects
from backends.kubernetes.problems import Object, Problem
from backends.kubernetes.rollout_status import Rollout, refusal_problem, rollout
from workloads import Exec, Service, StatefulService, Task, Workload, WorkloadError

PULL_LIMIT_S = 900
"""Seconds for which pulling an image doesn't count: a pull without progress becomes ErrImagePull by itself."""

MISSING_TIMEOUT_S = 20
RETRIGGER_AFTER_S = 5.0
"""Seconds without all pods after which their controller is triggered to try again. After refusals by the API server it
backs off for up to 16 minutes, even if the cause has been fixed (`DefaultTypedControllerRateLimiter` of client-go)."""

MAX_EVENT_AGE = timedelta(seconds=60)
"""Maximum age of an event that counts; allows for clock differences."""

RUNBOOK_SECTION = "docs/runbook.md#a-rollout-fails"
MAX_SHOWN_PROBLEMS = 6
"""Maximum number of problems in an error: pods of one workload usually have the same problem."""


@dataclass(frozen=True)
class AwaitedController:
    """A controller that the update waits for."""

    name: str
    """Name of the workload or the store."""

    kind: str
    rollout_timeout_s: int
    """Seconds without progress after which the update gives up."""

    attempt_s: int | None = None
    """Seconds that a pod of a Job may run."""

    is_autoscaled: bool = False
    progress_commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Maps each pod to the command of its readiness check, whose output reports the progress."""

    @staticmethod
    def for_workload(workload: Workload) -> AwaitedController:
        """Return the details of the wait for a workload."""
        progress_commands: dict[str, tuple[str, ...]] = {}
        if isinstance(workload, StatefulService) and workload.volumes and workload.readiness:
            check = workload.readiness.check
            pods = [f"{workload.name}-{ordinal}" for ordinal in range(workload.replicas)]
            progress_commands = dict.fromkeys(pods, check.command) if isinstance(check, Exec) else {}
        return AwaitedController(
            workload.name,
            CONTROLLER_KINDS[type(workload)],
            rollout_timeout_s(workload),
            attempt_s=workload.timeout_s if isinstance(workload, Task) else None,
            is_autoscaled=isinstance(workload, Service) and workload.autoscaling is not None,
            progress_commands=progress_commands,
        )


class RolloutWait:
    """The wait for one rollout."""

    def __init__(
        self,
        awaited: AwaitedController,
        name: str,
        uid: str | None,
        observed: ObservedObjects,
        delete_pod: Callable[[str], Awaitable[None]],
        retrigger: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self.awaited = awaited
        self._name = name
        self._uid = uid
        self._observed = observed
        self._delete_pod = delete_pod
        self._retrigger = retrigger
        self._began = self._found = monotonic()
        self._deadline = self._began + awaited.rollout_timeout_s
        self._restarts_before: dict[str, dict[str, int]] = {}
        self._since: dict[tuple[str, str], float] = {}
        self._known: dict[tuple[str, str], Problem] = {}
        self._running_since: dict[str, float] = {}
        self._is_first_check = True
        self._is_retriggered = False

    def extend(self) -> None:
        """Restart the timeout after progress."""
        self._deadline = monotonic() + self.awaited.rollout_timeout_s

    async def wait_until_done(self) -> None:
        """Wait until every pod of the newest revision is ready, or a Job has completed.

        Raises:
            WorkloadError: the rollout can't succeed, or timed out.
        """
        last_error = ""
        found: Rollout | None = None
        while True:
            try:
                objects = await self._observed.objects(self._began)
            except kubectl.KubectlError as error:
                last_error = str(error)
                if "forbidden" in last_error.lower() or last_error == kubectl.NOT_INSTALLED:
                    raise WorkloadError(f"The state of {self.awaited.name}'s rollout is unknown: {error}") from None
            else:
                last_error = ""
                found = rollout(self.awaited.kind, self._name, self._uid, objects)
                if await self._is_done(found):
                    return
            if monotonic() > self._deadline:
                raise WorkloadError(await self._failure(found, last_error))
            await asyncio.sleep(POLL_S)

    async def _is_done(self, found: Rollout | None) -> bool:
        now = monotonic()
        if found is None:
            if now - self._found >= MISSING_TIMEOUT_S:
                raise WorkloadError(f"{self.awaited.kind} {self._name} is gone: it was deleted")
            return False
        self._found = now
        if found.is_done:
            return True
        if self._is_first_check:
            self._is_first_check = False
            await self._delete_never_started(found.never_started_pods)
        if found.controller_missing_pods and not self._is_retriggered and now - self._began >= RETRIGGER_AFTER_S:
            self._is_retriggered = True
            await self._retrigger(*found.controller_missing_pods)
        if found.failure:
            raise WorkloadError(f"{self.awaited.name} has failed: {found.failure}\n{self._advice()}")
        if self.awaited.attempt_s is not None:
            self._end_hung_attempt(found, now, self.awaited.attempt_s)
        if found.is_pulling and now - self._began < PULL_LIMIT_S:
            self.extend()
        self._restarts_before = found.restarts() | self._restarts_before
        problems = [*found.all_problems(self._restarts_before), *await self._refusal_problems(found)]
        if failed := self._lasting_problems(problems, now):
            raise WorkloadError(self._error(found, failed))
        return False

    async def _delete_never_started(self, pods: Iterable[Object]) -> None:
        """Delete pods of an earlier rollout that never started; their successors use the current template."""
        for pod in pods:
            name = pod["metadata"]["name"]
            pulumi.log.info(f"{self.awaited.name}: pod {name} has never started; it is deleted and created again")
            await self._delete_pod(name)

    def _end_hung_attempt(self, found: Rollout, now: float, limit: int) -> None:
        """Raise `WorkloadError` if a pod of a Job runs for longer than the task may."""
        name = self.awaited.name
        self._running_since = {pod: self._running_since.get(pod, now) for pod in found.running_pods}
        for pod, since in self._running_since.items():
            if now - since > limit:
                raise WorkloadError(
                    f"{name} has failed: pod {pod} has run for longer than {limit} s.\n{self._advice()}"
                )

    def _lasting_problems(self, problems: Iterable[Problem], now: float) -> list[Problem]:
        """Report new problems; return those that last too long."""
        known = {one.key: self._with_clearer_message(one) for one in problems}
        for key, problem in known.items():
            if key not in self._known and not problem.is_expected:
                pulumi.log.warn(f"{self.awaited.name}: {problem}")
        self._since = {key: self._since.get(key, now) for key in known}
        self._known = known
        return [
            problem
            for key, problem in known.items()
            if problem.tolerated_s is not None and now - self._since[key] >= problem.tolerated_s
        ]

    def _with_clearer_message(self, problem: Problem) -> Problem:
        """Return a problem with the message that contains the cause, which the kubelet's message may lack during a
        pull back-off."""
        before = self._known.get(problem.key)
        if before and problem.kind == "image" and len(before.message) > len(problem.message):
            return dataclasses.replace(problem, message=before.message)
        return problem

    async def _refusal_problems(self, found: Rollout) -> list[Problem]:
        """Return why the API server refuses pods, which a StatefulSet and a Job only report in events."""
        if not found.controller_missing_pods:
            return []
        kind, name = found.controller_missing_pods
        events = await self._observed.warnings("reason=FailedCreate", f"involvedObject.name={name}")
        return [
            refusal_problem(f"{kind} {name}", str(one["reason"]), str(one.get("message", "")))
            for one in events[-1:]
            if _is_recent(one)
        ]

    async def _failure(self, found: Rollout | None, last_error: str) -> str:
        """Return the error of a rollout that timed out."""
        if last_error:
            problem = "is unknown, because the cluster doesn't respond"
            return f"The state of {self.awaited.name}'s rollout {problem}: {last_error}"
        pods = [pod["metadata"]["name"] for pod in (found.pods if found else [])]
        events = [
            Problem(f"pod {pod}", "event", str(event["reason"]), str(event.get("message", "")))
            for pod in pods[:MAX_SHOWN_PROBLEMS]
            for event in (await self._observed.warnings(f"involvedObject.name={pod}"))[-1:]
            if _is_recent(event)
        ]
        return self._error(found or Rollout(), [*self._known.values(), *events])

    def _error(self, found: Rollout, problems: list[Problem]) -> str:
        waited = f"{round(monotonic() - self._began)} s"
        return "\n".join(
            [
                f"{self.awaited.name} isn't ready after {waited} ({found.summary}).",
                *map(str, problems[:MAX_SHOWN_PROBLEMS]),
                self._advice(),
            ]
        )

    def _advice(self) -> str:
        return f"Fix the cause, then run the update again; it continues from here. {RUNBOOK_SECTION}"


def _is_recent(event: Mapping[str, Any]) -> bool:
    """Return whether an event belongs to this rollout, allowing for clock differences."""
    series = event.get("series") or {}
    found = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    if not found:
        return False
    return datetime.now(UTC) - datetime.fromisoformat(str(found).replace("Z", "+00:00")) < MAX_EVENT_AGE

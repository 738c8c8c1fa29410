"""The wait for a rollout, which ends as soon as the rollout can't succeed.

The provider's own wait ends when all pods are ready or its time is up, whatever the pods report meanwhile. So it
doesn't wait (`controllers.NO_WAIT`). A record of its own comes after the controller, and its hook waits: a failed wait
leaves no record, and the next update goes on waiting, though nothing else has changed. `backends/docker/readiness.py`
does the same for stores.

kubectl is asked about all rollouts at once. What may pass by itself is reported at once and counts at the end of the
rollout's time: an unschedulable pod, the first crashes. The rest ends the wait: see `problems`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pulumi

from backends.kubernetes import kubectl
from backends.kubernetes.claims import missing_claim
from backends.kubernetes.controllers import SCALED
from backends.kubernetes.missing_claims import missing_claims
from backends.kubernetes.observed import POLL_S, Observed
from backends.kubernetes.problems import Problem
from backends.kubernetes.registry import KubernetesObject
from backends.kubernetes.rollout_status import Rollout, refused, rollout
from backends.progress import progress
from backends.threads import Threads
from settings.backend import Kubernetes
from workloads import Exec, Kind, Workload, WorkloadError

REPORT_S = 5.0
"""Seconds between two questions to a store's readiness check."""

PULL_LIMIT_S = 900
"""Seconds for which pulling an image doesn't count: a pull without progress becomes ErrImagePull by itself."""

GONE_AFTER_S = 20
RECENT = timedelta(seconds=60)
"""Age up to which an event counts. It allows for clocks that differ."""

MANUAL = "docs/runbook.md#a-rollout-fails"
SHOWN = 6
"""Problems in an error: the pods of one workload mostly have the same."""


@dataclass(frozen=True)
class Awaited:
    """A controller that is waited for."""

    workload: Workload
    kind: str
    ready_s: int
    """Seconds without progress after which the update gives up."""


class Rollouts:
    """The records of which rollouts have succeeded, and the hooks that wait for them."""

    def __init__(self, settings: Kubernetes) -> None:
        self._settings = settings
        self._threads = Threads()
        self._observed = Observed(settings, self._threads)
        self._awaited: dict[str, Awaited] = {}
        self._wait = pulumi.ResourceHook("kubernetes-wait-for-rollout", self._wait_for_rollout)
        self._end_autoscaling = pulumi.ResourceHook("kubernetes-end-autoscaling", self._remove_autoscaler)
        self._explain_claim = pulumi.ErrorHook("kubernetes-explain-claim", self._explain_failed_claim)

    def record(self, awaited: Awaited, controller: KubernetesObject, *, parent: pulumi.Resource) -> pulumi.Stash:
        """Register the record of a controller, which is there once its rollout has succeeded."""
        name = f"{awaited.workload.name}-ready"
        self._awaited[name] = awaited
        hooks = pulumi.ResourceHookBinding(before_create=[self._wait], before_update=[self._wait])
        # An autoscaler changes the generation, too.
        revision = controller.specification if awaited.workload.autoscaling else controller.generation
        return pulumi.Stash(
            name,
            input={"name": controller.object_name, "uid": controller.identity, "revision": revision},
            opts=pulumi.ResourceOptions(parent=parent, hooks=hooks),
        )

    def of_controller(self, workload: Workload) -> pulumi.ResourceHookBinding | None:
        """The hooks of a workload's controller."""
        if workload.kind is not Kind.SERVICE or workload.autoscaling:
            return None
        return pulumi.ResourceHookBinding(before_update=[self._end_autoscaling])

    @property
    def of_claim(self) -> pulumi.ErrorHook:
        """The hook of a claim: the API server refuses to change what a StatefulSet has made in its place."""
        return self._explain_claim

    async def _wait_for_rollout(self, hook: pulumi.ResourceHookArgs) -> None:
        wanted = (hook.new_inputs or {})["input"]
        wait = _Wait(self._awaited[hook.name], str(wanted["name"]), wanted.get("uid"), self._observed)
        reports = asyncio.create_task(self._report(wait))
        try:
            await wait.until_done()
        finally:
            reports.cancel()

    async def _report(self, wait: _Wait) -> None:
        """Ask the readiness check of each of a store's replicas, and show what is new."""
        workload = wait.awaited.workload
        check = workload.readiness.check if workload.readiness else None
        if not workload.volumes or not isinstance(check, Exec):
            return
        shown: dict[str, str] = {}
        while True:
            await asyncio.sleep(REPORT_S)
            for ordinal in range(workload.replicas):
                pod = f"{workload.name}-{ordinal}"
                asked = ("exec", pod, "--container", workload.name, "--", *check.command)
                newest = progress(await self._threads.run(kubectl.answer, self._settings, *asked))
                if newest and newest != shown.get(pod):
                    shown[pod] = newest
                    wait.extend()
                    pulumi.log.info(f"{pod}: {newest}")

    async def _remove_autoscaler(self, hook: pulumi.ResourceHookArgs) -> None:
        """Remove the autoscaler before its Deployment gets a fixed number of replicas: Pulumi deletes last, and until
        then the autoscaler would set its own number again."""
        before = (hook.old_inputs or {})["metadata"].get("annotations", {})
        if SCALED.items() <= dict(before).items():
            name = (hook.new_inputs or {})["metadata"]["name"]
            asked = ("delete", f"horizontalpodautoscaler/{name}", "--ignore-not-found")
            await self._threads.run(kubectl.read, self._settings, *asked)

    async def _explain_failed_claim(self, hook: pulumi.ErrorHookArgs) -> bool:
        name = (hook.new_inputs or {})["metadata"]["name"]
        asked = ("get", "persistentvolumeclaims", "--field-selector", f"metadata.name={name}", "--output", "json")
        for missing in missing_claims(await self._threads.run(kubectl.answer, self._settings, *asked)):
            pulumi.log.error(missing_claim(missing))
        return False


class _Wait:
    """One wait."""

    def __init__(self, awaited: Awaited, name: str, uid: str | None, observed: Observed) -> None:
        self.awaited = awaited
        self._name = name
        self._uid = uid
        self._observed = observed
        self._began = self._found = monotonic()
        self._deadline = self._began + awaited.ready_s
        self._restarts_before: dict[str, dict[str, int]] = {}
        self._since: dict[tuple[str, str], float] = {}
        self._known: dict[tuple[str, str], Problem] = {}
        self._running_since: dict[str, float] = {}

    def extend(self) -> None:
        """Begin the time anew: there is progress."""
        self._deadline = monotonic() + self.awaited.ready_s

    async def until_done(self) -> None:
        """Wait until every pod of the newest revision is ready, or a Job has completed.

        Raises:
            WorkloadError: it can't, or its time is up.
        """
        unanswered = ""
        found: Rollout | None = None
        while True:
            try:
                objects = await self._observed.objects(self._began)
            except kubectl.KubectlError as error:
                unanswered = str(error)
                if "forbidden" in unanswered.lower() or unanswered == kubectl.MISSING:
                    raise WorkloadError(f"The rollout of {self.awaited.workload.name} is unknown: {error}") from None
            else:
                unanswered = ""
                found = rollout(self.awaited.kind, self._name, self._uid, objects)
                if await self._is_done(found):
                    return
            if monotonic() > self._deadline:
                raise WorkloadError(await self._failure(found, unanswered))
            await asyncio.sleep(POLL_S)

    async def _is_done(self, found: Rollout | None) -> bool:
        now = monotonic()
        if found is None:
            if now - self._found >= GONE_AFTER_S:
                raise WorkloadError(f"{self.awaited.kind} {self._name} is gone: it was deleted")
            return False
        self._found = now
        if found.is_done:
            return True
        if found.failure:
            raise WorkloadError(f"{self.awaited.workload.name} has failed: {found.failure}\n{self._advice()}")
        if self.awaited.workload.kind is Kind.TASK:
            self._end_hung_attempt(found, now)
        if found.is_pulling and now - self._began < PULL_LIMIT_S:
            self.extend()
        self._restarts_before = found.restarts() | self._restarts_before
        problems = [*found.all_problems(self._restarts_before), *await self._refusals(found)]
        if hopeless := self._noted(problems, now):
            raise WorkloadError(self._error(found, hopeless))
        return False

    def _end_hung_attempt(self, found: Rollout, now: float) -> None:
        """Raise `WorkloadError` if a pod of a Job runs for longer than the task may."""
        name, limit = self.awaited.workload.name, self.awaited.workload.timeout_s
        self._running_since = {pod: self._running_since.get(pod, now) for pod in found.running}
        for pod, since in self._running_since.items():
            if now - since > limit:
                raise WorkloadError(
                    f"{name} has failed: pod {pod} has run for longer than {limit} s.\n{self._advice()}"
                )

    def _noted(self, problems: Iterable[Problem], now: float) -> list[Problem]:
        """Report what is new; return what lasts too long."""
        known = {one.key: self._clearer(one) for one in problems}
        for key, problem in known.items():
            if key not in self._known and not problem.is_usual:
                pulumi.log.warn(f"{self.awaited.workload.name}: {problem}")
        self._since = {key: self._since.get(key, now) for key in known}
        self._known = known
        return [
            problem
            for key, problem in known.items()
            if problem.tolerated_s is not None and now - self._since[key] >= problem.tolerated_s
        ]

    def _clearer(self, problem: Problem) -> Problem:
        """Return a problem with the message that has the cause: while the kubelet waits for its next attempt to pull,
        the message may not."""
        before = self._known.get(problem.key)
        if before and problem.kind == "image" and len(before.message) > len(problem.message):
            return dataclasses.replace(problem, message=before.message)
        return problem

    async def _refusals(self, found: Rollout) -> list[Problem]:
        """Return why the API server takes no pod of a StatefulSet or a Job; these show it in events alone."""
        if not found.lacks_pods:
            return []
        events = await self._observed.warnings("reason=FailedCreate", f"involvedObject.name={self._name}")
        return [
            refused(f"{self.awaited.kind} {self._name}", str(one["reason"]), str(one.get("message", "")))
            for one in events[-1:]
            if _is_recent(one)
        ]

    async def _failure(self, found: Rollout | None, unanswered: str) -> str:
        """Return the error of a rollout whose time is up."""
        if unanswered:
            return (
                f"The rollout of {self.awaited.workload.name} is unknown, as the cluster doesn't answer: {unanswered}"
            )
        pods = [pod["metadata"]["name"] for pod in (found.pods if found else [])]
        events = [
            Problem(f"pod {pod}", "event", str(event["reason"]), str(event.get("message", "")))
            for pod in pods[:SHOWN]
            for event in (await self._observed.warnings(f"involvedObject.name={pod}"))[-1:]
            if _is_recent(event)
        ]
        return self._error(found or Rollout(), [*self._known.values(), *events])

    def _error(self, found: Rollout, problems: list[Problem]) -> str:
        waited = f"{round(monotonic() - self._began)} s"
        return "\n".join(
            [
                f"{self.awaited.workload.name} isn't ready after {waited} ({found.shown}).",
                *map(str, problems[:SHOWN]),
                self._advice(),
            ]
        )

    def _advice(self) -> str:
        return f"Fix the cause, then run the update again; it continues from here. {MANUAL}"


def _is_recent(event: Mapping[str, Any]) -> bool:
    """Whether an event is of this rollout, as far as the clocks allow to say."""
    series = event.get("series") or {}
    found = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    if not found:
        return False
    return datetime.now(UTC) - datetime.fromisoformat(str(found).replace("Z", "+00:00")) < RECENT

"""What an update says while it waits for a StatefulSet, and after it has waited in vain.

The provider counts ready pods. A store that recovers its data says more, to its readiness check; and a pod without its
claim is pending for a reason that stands at the claim. Both are asked with kubectl; without it, nothing is added.
"""

from __future__ import annotations

import asyncio

import pulumi

from backends.kubernetes import kubectl, labels
from backends.kubernetes.claims import missing_claim
from backends.kubernetes.missing_claims import missing_claims
from backends.progress import progress
from backends.threads import Threads
from settings.backend import Kubernetes
from workloads import Exec, Workload

POLL_S = 5.0


class Rollouts:
    """The hooks of the stack's StatefulSets."""

    def __init__(self, settings: Kubernetes) -> None:
        self._settings = settings
        self._threads = Threads()
        self._workloads: dict[str, Workload] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._begin = pulumi.ResourceHook("kubernetes-report-progress", self._begin_reports)
        self._end = pulumi.ResourceHook("kubernetes-end-progress", self._end_reports)
        self._explain = pulumi.ErrorHook("kubernetes-explain-missing-claims", self._explain_failure)
        self._explain_claim = pulumi.ErrorHook("kubernetes-explain-claim", self._explain_failed_claim)

    def hooks(self, workload: Workload) -> pulumi.ResourceHookBinding:
        """The hooks of a workload's StatefulSet, which bears its name."""
        self._workloads[workload.name] = workload
        begin, end = [self._begin], [self._end]
        return pulumi.ResourceHookBinding(
            before_create=[*begin],
            before_update=[*begin],
            after_create=[*end],
            after_update=[*end],
            on_error=[self._explain],
        )

    @property
    def of_claim(self) -> pulumi.ErrorHook:
        """The hook of a claim: the API server refuses to change what a StatefulSet has made in its place."""
        return self._explain_claim

    async def _begin_reports(self, hook: pulumi.ResourceHookArgs) -> None:
        self._watches[hook.name] = asyncio.create_task(self._report(self._workloads[hook.name]))

    async def _end_reports(self, hook: pulumi.ResourceHookArgs) -> None:
        self._stop(hook.name)

    async def _report(self, workload: Workload) -> None:
        """Asks each replica's readiness check, and shows what is new."""
        check = workload.readiness.check if workload.readiness else None
        if not isinstance(check, Exec):
            return
        shown: dict[str, str] = {}
        while True:
            for ordinal in range(workload.replicas):
                pod = f"{workload.name}-{ordinal}"
                asked = ("exec", pod, "--container", workload.name, "--", *check.command)
                newest = progress(await self._threads.run(kubectl.answer, self._settings, *asked))
                if newest and newest != shown.get(pod):
                    shown[pod] = newest
                    pulumi.log.info(f"{pod}: {newest}")
            await asyncio.sleep(POLL_S)

    async def _explain_failure(self, hook: pulumi.ErrorHookArgs) -> bool:
        self._stop(hook.name)
        await self._name_missing("--selector", f"{labels.NAME}={hook.name}")
        return False

    async def _explain_failed_claim(self, hook: pulumi.ErrorHookArgs) -> bool:
        name = (hook.new_inputs or {})["metadata"]["name"]
        await self._name_missing("--field-selector", f"metadata.name={name}")
        return False

    async def _name_missing(self, *selected: str) -> None:
        asked = ("get", "persistentvolumeclaims", *selected, "--output", "json")
        for name in missing_claims(await self._threads.run(kubectl.answer, self._settings, *asked)):
            pulumi.log.error(missing_claim(name))

    def _stop(self, workload: str) -> None:
        if watch := self._watches.pop(workload, None):
            watch.cancel()

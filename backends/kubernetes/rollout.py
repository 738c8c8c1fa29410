"""The records of successful rollouts, and the hooks that wait for them.

The provider's own wait ends when all pods are ready or at its timeout, whatever the pods report in the meantime. It is
therefore disabled (`controllers.NO_WAIT`). A separate record follows the controller, and its hook waits: a failed wait
leaves no record, so the next update continues to wait even if nothing else has changed. `backends/docker/readiness.py`
does the same for containers. One kubectl query covers all rollouts.
"""

from __future__ import annotations

import asyncio

import pulumi

from backends.base import DeployOptions
from backends.kubernetes import kubectl
from backends.kubernetes.claims import missing_claim_message
from backends.kubernetes.controllers import AUTOSCALED_ANNOTATION
from backends.kubernetes.manual_changes import retrigger_commands
from backends.kubernetes.missing_claims import missing_claims
from backends.kubernetes.observed import ObservedObjects
from backends.kubernetes.registrar import KubernetesObject
from backends.kubernetes.rollout_wait import AwaitedController, RolloutWait
from backends.progress import progress
from backends.threads import Threads
from settings.backend import KubernetesSettings
from workloads import Service, Workload

REPORT_PERIOD_S = 5.0
"""Seconds between two runs of a store's readiness check."""


class Rollouts:
    """The records of successful rollouts, and the hooks that wait for them."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._threads = Threads()
        self._observed = ObservedObjects(settings, self._threads)
        self._awaited: dict[str, AwaitedController] = {}
        self._wait = pulumi.ResourceHook("kubernetes-wait-for-rollout", self._wait_for_rollout)
        self._end_autoscaling = pulumi.ResourceHook("kubernetes-end-autoscaling", self._remove_autoscaler)
        self._explain_claim = pulumi.ErrorHook("kubernetes-explain-claim", self._explain_failed_claim)

    def record(self, awaited: AwaitedController, controller: KubernetesObject, options: DeployOptions) -> pulumi.Stash:
        """Register the record of a controller, which exists once its rollout has succeeded."""
        name = f"{awaited.name}-ready"
        self._awaited[name] = awaited
        self._observed.include(awaited.kind)
        hooks = pulumi.ResourceHookBinding(before_create=[self._wait], before_update=[self._wait])
        # An autoscaler changes the generation, too.
        revision = controller.specification if awaited.is_autoscaled else controller.generation
        return pulumi.Stash(
            name,
            input={"name": controller.object_name, "uid": controller.identity, "revision": revision},
            opts=options.resource_options(hooks=hooks),
        )

    def controller_hooks(self, workload: Workload) -> pulumi.ResourceHookBinding | None:
        """Return the hooks of a workload's controller."""
        if not isinstance(workload, Service) or workload.autoscaling:
            return None
        return pulumi.ResourceHookBinding(before_update=[self._end_autoscaling])

    @property
    def claim_error_hook(self) -> pulumi.ErrorHook:
        """Return the hook of a claim: the API server refuses to change a claim that a StatefulSet created in its
        place."""
        return self._explain_claim

    async def _wait_for_rollout(self, hook: pulumi.ResourceHookArgs) -> None:
        wanted = (hook.new_inputs or {})["input"]
        awaited, name = self._awaited[hook.name], str(wanted["name"])
        wait = RolloutWait(awaited, name, wanted.get("uid"), self._observed, self._delete_pod, self._retrigger)
        reports = asyncio.create_task(self._report(wait))
        try:
            await wait.wait_until_done()
        finally:
            reports.cancel()

    async def _report(self, wait: RolloutWait) -> None:
        """Run the readiness check of each of a store's replicas, and print new progress."""
        progress_commands = wait.awaited.progress_commands
        if not progress_commands:
            return
        shown: dict[str, str] = {}
        while True:
            await asyncio.sleep(REPORT_PERIOD_S)
            for pod, command in progress_commands.items():
                arguments = ("exec", pod, "--container", wait.awaited.name, "--", *command)
                newest = progress(await self._threads.run(kubectl.read_or_empty, self._settings, *arguments))
                if newest and newest != shown.get(pod):
                    shown[pod] = newest
                    wait.extend()
                    pulumi.log.info(f"{pod}: {newest}")

    async def _delete_pod(self, name: str) -> None:
        arguments = ("delete", f"pod/{name}", "--ignore-not-found", "--wait=false")
        await self._threads.run(kubectl.read, self._settings, *arguments)

    async def _retrigger(self, kind: str, name: str) -> None:
        for arguments in retrigger_commands(kind, name):
            await self._threads.run(kubectl.read_or_empty, self._settings, *arguments)

    async def _remove_autoscaler(self, hook: pulumi.ResourceHookArgs) -> None:
        """Remove the autoscaler before its Deployment gets a fixed number of replicas: Pulumi deletes last, and until
        then the autoscaler would set its own number again."""
        before = (hook.old_inputs or {})["metadata"].get("annotations", {})
        if AUTOSCALED_ANNOTATION.items() <= dict(before).items():
            name = (hook.new_inputs or {})["metadata"]["name"]
            arguments = ("delete", f"horizontalpodautoscaler/{name}", "--ignore-not-found")
            await self._threads.run(kubectl.read, self._settings, *arguments)

    async def _explain_failed_claim(self, hook: pulumi.ErrorHookArgs) -> bool:
        name = (hook.new_inputs or {})["metadata"]["name"]
        arguments = ("get", "persistentvolumeclaims", "--field-selector", f"metadata.name={name}", "--output", "json")
        for missing in missing_claims(await self._threads.run(kubectl.read_or_empty, self._settings, *arguments)):
            pulumi.log.error(missing_claim_message(missing))
        return False

"""Checks who owns an existing object, before the provider adopts it.

The provider creates an object with server-side apply (`upsert_existing_objects`): an existing object with that name is
adopted and overwritten, regardless of its creator. That is intended for leftovers of a killed update of this stack, and
for objects that outlived the stack; any other object is refused, even in previews. Every object therefore has the
stack's name in the label `app.kubernetes.io/instance`.

kubectl is called once for all kinds, and only if an object is to be created. The provider has no function for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pulumi

from backends.kubernetes import kubectl, labels
from backends.kubernetes.kubectl import KubectlError
from backends.kubernetes.manifest import Manifest
from backends.threads import Threads
from settings.backend import KubernetesSettings
from workloads import WorkloadError

UNKNOWN_KIND = ("the server doesn't have a resource type", "no matches for kind")
"""kubectl's messages for a kind without a CRD in the cluster, which then has no objects of it."""

Labels = Mapping[str, str]
Key = tuple[str, str]
"""Kind and name of an object."""


class Ownership:
    """The hook that refuses objects of other owners.

    Args:
        settings: the cluster and the namespace.
        instance: the stack, as in the label of its objects.
    """

    def __init__(self, settings: KubernetesSettings, instance: str) -> None:
        self._settings = settings
        self._instance = instance
        self._threads = Threads()
        self._retained: set[Key] = set()
        self._resources: set[str] = set()
        self._existing: asyncio.Task[Mapping[Key, Labels]] | None = None
        in_previews = pulumi.ResourceHookOptions(on_dry_run=True)
        self.can_check = True
        """False in a preview without the cluster or without kubectl."""

        self._refuse = pulumi.ResourceHook("kubernetes-refuse-foreign-object", self._check, in_previews)

    def before_create(self, manifest: Manifest, *, retain: bool) -> pulumi.ResourceHook:
        """Return the hook of an object with a fixed name; a retained object outlives the stack."""
        if retain:
            self._retained.add((str(manifest["kind"]), str(manifest["metadata"]["name"])))
        self._resources.add(_kubectl_resource(manifest))
        return self._refuse

    async def _check(self, hook: pulumi.ResourceHookArgs) -> None:
        if not self.can_check:
            return
        inputs = hook.new_inputs or {}
        kind, name = str(inputs["kind"]), str(inputs["metadata"]["name"])
        resource = _kubectl_resource(inputs)
        if self._existing is None:
            # The program has declared all objects before the first hook runs.
            self._existing = asyncio.create_task(self._list_all())
        try:
            if (found := (await self._existing).get((kind, name))) is None:
                return
            if not pulumi.runtime.is_dry_run():
                # The same update may have just deleted the object in order to replace it.
                found = await self._labels(resource, name)
        except KubectlError as error:
            if not pulumi.runtime.is_dry_run():
                raise WorkloadError(f"kubectl can't check who owns {kind} {name!r}: {error}") from None
            pulumi.log.warn(f"kubectl can't check who owns {kind} {name!r}: {error}")
            return
        if found is None:
            return
        if kind == "StatefulSet" and pulumi.runtime.is_dry_run():
            pulumi.log.info(
                f"{kind} {name!r} exists and will be adopted or replaced. Its claims are kept in both cases."
            )
            if labels.lacks_instance(found):
                return  # The object is from an earlier release, and may be about to be replaced.
        if owner := foreign_owner(found, self._instance, retain=(kind, name) in self._retained):
            raise WorkloadError(self._refusal(resource, kind, name, owner))

    async def _list_all(self) -> Mapping[Key, Labels]:
        """Return the labels of all objects of the declared kinds."""
        kinds = sorted(self._resources)
        try:
            return await self._list(",".join(kinds))
        except KubectlError as error:
            if not any(message in str(error) for message in UNKNOWN_KIND):
                raise
        # One unknown kind makes the whole query fail.
        found = await asyncio.gather(*(self._list_if_known(kind) for kind in kinds))
        return {key: known for listed in found for key, known in listed.items()}

    async def _list_if_known(self, resource: str) -> Mapping[Key, Labels]:
        try:
            return await self._list(resource)
        except KubectlError as error:
            if any(message in str(error) for message in UNKNOWN_KIND):
                return {}
            raise

    async def _list(self, resources: str) -> Mapping[Key, Labels]:
        # Query only the labels: a full list of Secrets would contain their values.
        each = r'{range .items[*]}{.kind}{"\t"}{.metadata.name}{"\t"}{.metadata.labels}{"\n"}{end}'
        found = await self._threads.run(kubectl.read, self._settings, "get", resources, f"--output=jsonpath={each}")
        lines = (line.split("\t") for line in found.splitlines())
        return {(kind, name): json.loads(known or "{}") for kind, name, known in lines}

    async def _labels(self, resource: str, name: str) -> Labels | None:
        """Return the labels of one object; None if it doesn't exist."""
        arguments = (
            "get",
            resource,
            name,
            "--ignore-not-found",
            "--output=jsonpath={.metadata.name}\t{.metadata.labels}",
        )
        found = await self._threads.run(kubectl.read, self._settings, *arguments)
        if not found:
            return None
        known: dict[str, Any] = json.loads(found.partition("\t")[2] or "{}")
        return known

    def _refusal(self, resource: str, kind: str, name: str, owner: str) -> str:
        hand_over = " ".join(
            [
                f"kubectl --context {self._settings.context} -n {self._settings.namespace}",
                f"label {resource} {name} {labels.INSTANCE_LABEL}={self._instance} --overwrite",
            ]
        )
        return (
            f"The {kind} {name!r} already exists and belongs to {owner}. It has not been changed. Give "
            "this stack its own namespace (kubernetes.namespace), or remove the object. If it is meant for this stack, "
            f"label it, and the next update adopts it: {hand_over}"
        )


def foreign_owner(found: Labels, instance: str, *, retain: bool) -> str | None:
    """Return the owner of an object by its labels; None if it is this stack's.

    Releases before the label created retained objects without it; these are adopted, because nothing ever deletes them.
    A StatefulSet adds its selector's labels to a claim that it creates in place of a missing one; the update of that
    claim reports the problem (`Rollouts.claim_error_hook`).
    """
    if labels.INSTANCE_LABEL in found:
        return None if found[labels.INSTANCE_LABEL] == instance else f"{found[labels.INSTANCE_LABEL]!r}"
    if retain and found.get(labels.PART_OF_LABEL) == labels.PLATFORM:
        return None
    if labels.lacks_instance(found):
        return "a stack of an earlier release, which doesn't record its name"
    return "an unknown owner, because its labels name none"


def _kubectl_resource(manifest: Mapping[str, Any]) -> str:
    """Return the kind of an object in kubectl's notation, with its API version."""
    group, _, version = str(manifest["apiVersion"]).rpartition("/")
    return f"{manifest['kind']}.{version}.{group}"

"""Manifests as resources of one provider and one namespace."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from backends.base import DeployOptions
from backends.data_records import DataRecords, after_records
from backends.kubernetes import labels, network_policy
from backends.kubernetes.manifest import Manifest
from backends.kubernetes.namespace import namespace
from backends.kubernetes.ownership import Ownership
from backends.kubernetes.prerequisites import Prerequisites
from settings.backend import KubernetesSettings
from workloads import FixedSetting, WorkloadError

DEFAULT_DENY_NAME = "default-deny"
CLUSTER_SCOPED_KINDS = ("ClusterRole", "ClusterRoleBinding")
"""Kinds that aren't namespaced."""

REPLACED_KINDS = ("StatefulSet",)
"""Kinds with immutable fields and fixed names: the old object is deleted before the new one is created.

In a preview the old one still exists, and the API server refuses the dry run of the new one ("updates to statefulset
spec … are forbidden"). The provider skips the dry run if a value is unknown.
"""

FROM_ENVIRONMENT = ("_mutable", "_server_side_apply", "_unreachable", "_warnings")
"""Ends of the names of the provider's inputs that the SDK reads from the environment if the program gives none."""

UNPREVIEWED_LABEL = f"{labels.PLATFORM}/unpreviewed"
"""Label with an unknown value, which objects of these kinds have in previews only. Its change is ignored, so it doesn't
affect a preview that updates or keeps the object."""


MOVE_INSTRUCTIONS = (
    "Restore the old value. To use another cluster or namespace, create another stack and move the data to it."
)


class KubernetesObject(pulumi.CustomResource):
    """A Kubernetes object, registered with its manifest.

    The SDK's classes register the same, but importing them takes a second in each preview (measured: 1.0 s instead of
    0.05 s).
    """

    metadata: pulumi.Output[Mapping[str, Any]]
    spec: pulumi.Output[Mapping[str, Any]]
    """Only set for kinds that have a spec."""

    def __init__(
        self,
        resource_name: str,
        manifest: Manifest,
        opts: pulumi.ResourceOptions,
        recorded: Iterable[pulumi.Resource] = (),
    ) -> None:
        group, _, version = str(manifest["apiVersion"]).rpartition("/")
        kind = manifest["kind"]
        token = f"kubernetes:{group or 'core'}/{version}:{kind}"
        super().__init__(token, resource_name, {**manifest, "kind": after_records(kind, *recorded)}, opts)

    @property
    def object_name(self) -> pulumi.Output[str]:
        """Return the object's name in the cluster, which the provider generates if the manifest has none."""
        return self.metadata.apply(lambda found: str(found["name"]))

    @property
    def identity(self) -> pulumi.Output[str | None]:
        """Return the object's UID; unknown in the preview of a creation."""
        return self.metadata.apply(lambda found: _known(found.get("uid")))

    @property
    def generation(self) -> pulumi.Output[str | None]:
        """Return the object's generation, which each change of the specification increments; unknown in the preview of
        a creation."""
        return self.metadata.apply(lambda found: _known(_text(found.get("generation"))))

    @property
    def specification(self) -> pulumi.Output[str]:
        """Return a hash of the specification without the number of replicas."""
        return self.spec.apply(_hash_without_replicas)


class ManifestRegistrar:
    """Registers manifests, each name once. The first one creates the provider and the namespace."""

    def __init__(
        self,
        settings: KubernetesSettings,
        records: DataRecords,
        prerequisites: Prerequisites,
        *,
        stack: str,
        protect: bool,
    ) -> None:
        self._settings = settings
        self._records = records
        self._prerequisites = prerequisites
        self._instance = labels.instance(stack)
        self.ownership = Ownership(settings, self._instance)
        self._protect = protect
        self._owners = {("NetworkPolicy", DEFAULT_DENY_NAME): "the namespace"}

    def register(
        self,
        manifest: Manifest,
        *,
        owner: str,
        options: DeployOptions,
        resource_name: str | None = None,
        depends_on: Iterable[pulumi.Resource] = (),
        retain: bool = False,
        timeouts: pulumi.CustomTimeouts | None = None,
        recorded: Iterable[pulumi.Resource] = (),
        hooks: pulumi.ResourceHookBinding | None = None,
        ignore_changes: Iterable[str] = (),
    ) -> KubernetesObject:
        """Register one object.

        Args:
            manifest: the object.
            owner: the workload (or the like) it belongs to, for the error.
            options: options of its owner.
            resource_name: required for an object without a name.
            depends_on: resources that must exist first, in addition to the namespace.
            retain: whether it holds data: it outlives the stack, and is protected if `protect` is set.
            timeouts: timeouts of the operations that the provider waits for.
            recorded: records (`DataRecords`) that must be registered first.
            hooks: resource hooks of its creation.
            ignore_changes: fields that other controllers change; they only apply at creation.

        Raises:
            WorkloadError: two owners would share an object.
        """
        self._prerequisites.require_api(manifest, owner)
        kind = str(manifest["kind"])
        name = resource_name or str(manifest["metadata"]["name"])
        first = self._owners.setdefault((kind, name), owner)
        if first != owner:
            raise WorkloadError(f"{first!r} and {owner!r} would share the {kind} {name!r}")
        return self._declare(
            name,
            self._with_namespace(manifest),
            options.resource_options(
                hooks=hooks,
                depends_on=[*self._namespace, *depends_on],
                protect=self._protect if retain else None,
                retain_on_delete=retain or options.retain or None,
                custom_timeouts=timeouts,
                additional_secret_outputs=["data"] if kind == "Secret" else None,
                ignore_changes=[*ignore_changes] or None,
            ),
            recorded,
        )

    def _declare(
        self,
        name: str,
        manifest: Manifest,
        opts: pulumi.ResourceOptions,
        recorded: Iterable[pulumi.Resource] = (),
    ) -> KubernetesObject:
        """Register an object with the stack's label; refuse to adopt an object of another owner."""
        kind, metadata = str(manifest["kind"]), manifest["metadata"]
        object_labels = {**metadata["labels"], labels.INSTANCE_LABEL: self._instance}
        if kind in REPLACED_KINDS:
            if pulumi.runtime.is_dry_run():
                object_labels[UNPREVIEWED_LABEL] = pulumi.UNKNOWN
            # Updates need this option as well, because a saved plan requires the same options.
            opts.ignore_changes = [*(opts.ignore_changes or ()), f'metadata.labels["{UNPREVIEWED_LABEL}"]']
        if "name" in metadata:
            # `pulumi up --replace` creates first by default: the provider would adopt the object, then delete it.
            opts.delete_before_replace = True
            hooks = copy.copy(opts.hooks) if opts.hooks else pulumi.ResourceHookBinding()
            foreign = self.ownership.before_create(manifest, retain=bool(opts.retain_on_delete))
            hooks.before_create = [foreign, *(hooks.before_create or ())]
            opts.hooks = hooks
        opts.provider = self._provider
        return KubernetesObject(name, {**manifest, "metadata": {**metadata, "labels": object_labels}}, opts, recorded)

    @functools.cached_property
    def _provider(self) -> kubernetes.Provider:
        return kubernetes.Provider(
            "kubernetes",
            # A saved plan requires the same text on all machines, even without the cluster. The plugin expands `~`.
            kubeconfig=self._settings.kubeconfig,
            context=self._settings.context,
            # Without the identifier, a changed server address or certificate would replace the whole platform.
            cluster_identifier=f"pti-calendar/{self._settings.context}",
            # No timeout here: it would also end every watch, and requests that wait for an admission webhook.
            kube_client_settings=kubernetes.KubeClientSettingsArgs(qps=50, burst=100),
            # Leftovers of a killed update, and objects that outlived an earlier stack, are adopted instead of refused.
            # `Ownership` excludes objects of other owners, and `backends.addresses` prevents a later deletion.
            upsert_existing_objects=True,
            # The program owns the fields that it sets. Other managers keep the rest, such as replicas.
            enable_patch_force=True,
            opts=pulumi.ResourceOptions(transformations=[_without_environment]),
        )

    @functools.cached_property
    def _namespace(self) -> list[KubernetesObject]:
        """Return the namespace, which denies every connection by default. In a new namespace, or another cluster, every
        store would start empty."""
        place = [
            FixedSetting("kubernetes.namespace", self._settings.namespace, MOVE_INSTRUCTIONS),
            FixedSetting("kubernetes.context", self._settings.context or "", MOVE_INSTRUCTIONS),
        ]
        recorded = self._records.record_settings("namespace", {"namespace": place})
        space = self._declare(
            "namespace",
            namespace(self._settings.namespace),
            pulumi.ResourceOptions(protect=self._protect, retain_on_delete=True),
            [recorded],
        )
        closed = self._declare(
            DEFAULT_DENY_NAME,
            self._with_namespace(network_policy.default_deny(DEFAULT_DENY_NAME)),
            pulumi.ResourceOptions(depends_on=[space]),
        )
        return [space, closed]

    def _with_namespace(self, manifest: Manifest) -> Manifest:
        if manifest["kind"] in CLUSTER_SCOPED_KINDS:
            return manifest
        return {**manifest, "metadata": {**manifest["metadata"], "namespace": self._settings.namespace}}


def _without_environment(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
    """Leave out the provider's inputs that the SDK reads from `PULUMI_K8S_…` variables: they would be part of a saved
    plan, which a machine with other variables would violate. The plugin reads the variables itself."""
    given = {key: value for key, value in args.props.items() if not key.endswith(FROM_ENVIRONMENT)}
    return pulumi.ResourceTransformationResult(given, args.opts)


def _text(value: Any) -> str | None:
    return None if value is None else f"{value:g}"


def _known(value: str | None) -> Any:
    """Return a value that the API server assigns. In a preview a missing value is unknown: with None, a saved plan
    would contain it, and the update would violate the plan."""
    return pulumi.UNKNOWN if value is None and pulumi.runtime.is_dry_run() else value


def _hash_without_replicas(spec: Mapping[str, Any]) -> str:
    compared = {key: value for key, value in spec.items() if key != "replicas"}
    return hashlib.sha256(json.dumps(compared, sort_keys=True).encode()).hexdigest()[:16]

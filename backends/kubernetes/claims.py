"""Persistent volume claims of a workload.

A StatefulSet creates claims from its templates and never changes them: it can't resize them, and they aren't in the
state, which could protect them. So the program declares each claim under the name that the StatefulSet expects, and the
StatefulSet uses it. If a claim is missing, the StatefulSet creates one from the template. The template names a storage
class that can't exist, so that the pod stays pending instead of starting on an empty volume. The event names the class.

The pods of a scheduled task name their claims themselves, and stay pending if one is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backends.data_records import RECOVERY_SECTION
from backends.kubernetes import labels
from backends.kubernetes.manifest import SKIP_AWAIT, Manifest, manifest
from workloads import FixedSetting, StatefulService, Volume, Workload

MISSING_CLAIM_CLASS = "claim-is-missing-see-docs-stores-md"
"""Storage class of a claim that a StatefulSet created because the stack's claim is missing."""

STORAGE_CLASS_KEY = "kubernetes.storageClass"
DEFAULT_CLASS_TEXT = "(the cluster's default)"

NO_DEFAULT_CLASS_PROBLEM = "The cluster has no default storage class."
SET_CLASS_INSTRUCTION = (
    f"Name one (kubectl get storageclass): pulumi config set --path 'pti-calendar:{STORAGE_CLASS_KEY}' CLASS"
)


def claims(workload: Workload, storage_class: str | None) -> Iterator[Manifest]:
    """Return the claims of all replicas."""
    for volume in workload.volumes:
        for name in claim_names(volume, workload):
            yield manifest(
                "v1",
                "PersistentVolumeClaim",
                name=name,
                labels=labels.labels_for(workload),
                # Many storage classes bind a claim only once a pod uses it.
                annotations=SKIP_AWAIT,
                spec=_spec(volume.size_gib) | ({"storageClassName": storage_class} if storage_class else {}),
            )


def sizes_gib(workload: Workload) -> dict[str, int]:
    """Return the size of each claim by its name."""
    return {name: volume.size_gib for volume in workload.volumes for name in claim_names(volume, workload)}


def claim_names(volume: Volume, workload: Workload) -> Sequence[str]:
    """Return the names of a volume's claims: for a StatefulSet one per replica, as the StatefulSet expects; otherwise
    one that all pods share."""
    shared = f"{volume.name}-{workload.name}"
    if isinstance(workload, StatefulService):
        return [f"{shared}-{ordinal}" for ordinal in range(workload.replicas)]
    return [shared]


def claim_template(volume: Volume) -> Manifest:
    """Return the StatefulSet's template, which changes only with the volume's name."""
    return {"metadata": {"name": volume.name}, "spec": {**_spec(1), "storageClassName": MISSING_CLAIM_CLASS}}


def fixed_storage_class(storage_class: str | None) -> FixedSetting:
    """Return the storage class as a fixed setting: a change would replace the claim with an empty one."""
    return FixedSetting(
        STORAGE_CLASS_KEY,
        storage_class or DEFAULT_CLASS_TEXT,
        "A claim keeps its storage class, even if no setting names it. Restore the old value: "
        f"pulumi config rm --path 'pti-calendar:{STORAGE_CLASS_KEY}', or "
        f"pulumi config set --path 'pti-calendar:{STORAGE_CLASS_KEY}' OLD_CLASS.",
    )


def missing_claim_message(name: str) -> str:
    """Return the message about a missing claim."""
    return (
        f"The claim '{name}' with this stack's data is missing. Its pod stays pending, so that it doesn't start empty. "
        f"To restore it, see {RECOVERY_SECTION}"
    )


def terminating_claim_message(claim: Mapping[str, Any]) -> str:
    """Return the message about a claim that Kubernetes deletes as soon as no pod uses it. This can't be cancelled
    (kubernetes/kubernetes#69980)."""
    keep = '{"spec": {"persistentVolumeReclaimPolicy": "Retain"}}'
    volume = claim["spec"].get("volumeName")
    return (
        f"The claim '{claim['metadata']['name']}' with this stack's data is being deleted. It disappears when its pod "
        "stops, and with the reclaim policy Delete its data does too. "
        + (f"Keep the data first: kubectl patch pv {volume} --patch '{keep}'. " if volume else "")
        + f"Then stop the pod and restore the claim: see {RECOVERY_SECTION}"
    )


def _spec(size_gib: int) -> Manifest:
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{size_gib}Gi"}}}

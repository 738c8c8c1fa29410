"""Persistent volume claims of a stateful workload.

A StatefulSet makes claims from its templates and never touches them again: it can't resize them, and in the state
there is none to protect. So each claim is an object of its own, under the name the StatefulSet gives, which it finds
there and takes. The template's own size then never counts, and stays out of the way of a resize.
"""

from __future__ import annotations

from collections.abc import Iterator

from backends.kubernetes import labels
from backends.kubernetes.manifest import SKIP_AWAIT, Manifest, manifest
from workloads import Volume, Workload


def claims(workload: Workload, storage_class: str | None) -> Iterator[Manifest]:
    """The claims of all replicas."""
    for volume in workload.volumes:
        for ordinal in range(workload.replicas):
            yield manifest(
                "v1",
                "PersistentVolumeClaim",
                name=f"{volume.name}-{workload.name}-{ordinal}",
                labels=labels.labels(workload.name, workload.kind.value),
                # Many storage classes bind a claim only once a pod wants it.
                annotations=SKIP_AWAIT,
                spec=_spec(volume.size_gib) | ({"storageClassName": storage_class} if storage_class else {}),
            )


def claim_template(volume: Volume) -> Manifest:
    """The StatefulSet's template, which changes only with the volume's name."""
    return {"metadata": {"name": volume.name}, "spec": _spec(1)}


def _spec(size_gib: int) -> Manifest:
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{size_gib}Gi"}}}

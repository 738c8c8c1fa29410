"""The node's persistent volumes, created in advance and bound to PVCs as these are created.

Each is a separate ext4 file system, like block storage: a new one contains `lost+found` and belongs to root. The
kubelet changes the group to the pod's `fsGroup`. A PVC of the default class gets a volume of at least the requested
size. A released volume keeps its files until `recycle_volumes`.

They are `local` volumes, because the kubelet measures their usage, but not that of `hostPath` volumes (`MetricsNil` in
Kubernetes' pkg/volume/hostpath).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from testbed import ext4
from testbed.cluster.access import Cluster
from testbed.cluster.constants import NODE_NAME, VOLUME_IMAGES, VOLUMES

STORAGE_CLASS = "test-local"
COUNT = 24
SIZE_GIB = 10
SMALL = f"{STORAGE_CLASS}-small"
SMALL_MIB = 32

DEFAULT_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": STORAGE_CLASS,
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": "kubernetes.io/no-provisioner",
    "volumeBindingMode": "Immediate",
    "reclaimPolicy": "Retain",
}

_NODE_SELECTOR = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}


def ensure(cluster: Cluster) -> None:
    """Create the storage class and its volumes; existing ones are kept."""
    for name in _names():
        _mount(name, SIZE_GIB * 1024)
    present = _phases(cluster)
    _apply(cluster, [DEFAULT_CLASS, *(_volume(name) for name in _names() if name not in present)])
    if SMALL in present:
        _mount(SMALL, SMALL_MIB)


def add_small_volume(cluster: Cluster, namespace: str, claim: str) -> None:
    """Reserve a volume of `SMALL_MIB` for one PVC that doesn't exist yet, whatever size it requests, for a test to
    fill.

    `recycle_volumes` removes it once the PVC is gone.
    """
    _mount(SMALL, SMALL_MIB)
    volume = _volume(SMALL)
    volume["spec"]["claimRef"] = {"namespace": namespace, "name": claim}
    _apply(cluster, [volume])


def recycle_volumes(cluster: Cluster) -> int:
    """Empty the volumes whose PVC is gone and release them; return their number. Bound volumes aren't changed."""
    released = [name for name, phase in _phases(cluster).items() if phase in {"Released", "Failed"}]
    ours = [name for name in released if name in {*_names(), SMALL}]
    if ours:
        cluster.kubectl("delete", "persistentvolume", *ours, "--wait=true")
        for name in ours:
            ext4.unmount(VOLUMES / name)
            _image(name).unlink()
        ensure(cluster)
    return len(ours)


def used_ratios(cluster: Cluster, namespace: str) -> dict[str, float]:
    """Map each PVC of a namespace to the used share of its file system."""
    listed = json.loads(cluster.kubectl("get", "persistentvolumeclaims", f"--namespace={namespace}", "--output=json"))
    return {one["metadata"]["name"]: _used_ratio(VOLUMES / one["spec"]["volumeName"]) for one in listed["items"]}


def _used_ratio(folder: Path) -> float:
    usage = shutil.disk_usage(folder)
    return 1 - usage.free / usage.total


def _mount(name: str, size_mib: int) -> None:
    if not (VOLUMES / name).is_mount():
        ext4.mount(_image(name), VOLUMES / name, size_mib)


def _image(name: str) -> Path:
    return VOLUME_IMAGES / f"{name}.ext4"


def _names() -> list[str]:
    return [f"{STORAGE_CLASS}-{number:02}" for number in range(1, COUNT + 1)]


def _phases(cluster: Cluster) -> dict[str, str]:
    listed = json.loads(cluster.kubectl("get", "persistentvolumes", "--output=json"))["items"]
    return {one["metadata"]["name"]: one["status"].get("phase", "Pending") for one in listed}


def _volume(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "capacity": {"storage": f"{SIZE_GIB}Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(VOLUMES / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [_NODE_SELECTOR]}]}},
        },
    }


def _apply(cluster: Cluster, objects: list[dict[str, Any]]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("apply", "--server-side", "--filename=-", input=json.dumps(listed))

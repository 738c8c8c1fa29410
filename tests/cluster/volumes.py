"""Persistent volumes of the node: folders below the cluster's root, made beforehand, bound as claims come.

A claim of the default class gets one that is at least as large as it asks. A released one keeps its files until
`fresh_volumes`. The kubelet doesn't change a host folder's owner, `fsGroup` or not: the folder itself is root's and
open to everyone, so a program that wants to own its directory makes one inside.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

from tests.cluster.access import Cluster
from tests.cluster.places import VOLUMES

STORAGE_CLASS = "test-local"
COUNT = 24
SIZE_GIB = 10
_MODE = 0o777

_CLASS = {
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


def ensure(cluster: Cluster) -> None:
    """The storage class and its volumes; those that are there stay as they are."""
    present = _phases(cluster)
    missing = [name for name in _names() if name not in present]
    for name in missing:
        folder = VOLUMES / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(_MODE)
    _apply(cluster, [_CLASS, *map(_volume, missing)])


def fresh_volumes(cluster: Cluster) -> int:
    """Empty the volumes whose claim is gone and offer them again; how many. Bound ones are not touched."""
    released = [name for name, phase in _phases(cluster).items() if phase in {"Released", "Failed"}]
    ours = [name for name in released if name in set(_names())]
    if ours:
        cluster.kubectl("delete", "persistentvolume", *ours, "--wait=true")
        for name in ours:
            shutil.rmtree(VOLUMES / name)
        ensure(cluster)
    return len(ours)


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
            "hostPath": {"path": str(VOLUMES / name), "type": "Directory"},
        },
    }


def _apply(cluster: Cluster, objects: list[dict[str, Any]]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("apply", "--server-side", "--filename=-", input=json.dumps(listed))

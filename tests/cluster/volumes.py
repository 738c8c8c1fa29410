"""Persistent volumes of the node: folders below the cluster's root, made beforehand, bound as claims come.

A claim of the default class gets one that is at least as large as it asks. A released one keeps its files until
`fresh_volumes`. The folder stays root's, and the kubelet gives it to the pod's `fsGroup`: a program that wants to own
its directory makes one inside.

They are `local` volumes: of those the kubelet tells how full they are, and nothing of a `hostPath` (`MetricsNil` in
Kubernetes' pkg/volume/hostpath). Its figures are the file system's on which the folder is: the machine's own disk, but
for the small one.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

from tests.cluster.access import Cluster
from tests.cluster.places import NODE, VOLUMES
from tests.cluster.processes import run

STORAGE_CLASS = "test-local"
COUNT = 24
SIZE_GIB = 10
SMALL = f"{STORAGE_CLASS}-small"
SMALL_MIB = 32
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

_ON_THE_NODE = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}


def ensure(cluster: Cluster) -> None:
    """The storage class and its volumes; those that are there stay as they are."""
    present = _phases(cluster)
    missing = [name for name in _names() if name not in present]
    for name in missing:
        folder = VOLUMES / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(_MODE)
    _apply(cluster, [_CLASS, *map(_volume, missing)])


def small(cluster: Cluster, namespace: str, claim: str) -> None:
    """Keeps a volume for one claim that is not made yet: of `SMALL_MIB`, whatever the claim asks, for a test to fill.

    Its file system is in memory, so `down` empties it. `fresh_volumes` takes it away once the claim is gone.
    """
    folder = VOLUMES / SMALL
    folder.mkdir(parents=True, exist_ok=True)
    if not folder.is_mount():
        run("mount", "-t", "tmpfs", "-o", f"size={SMALL_MIB}m,mode={_MODE:o}", SMALL, folder)
    volume = _volume(SMALL)
    volume["spec"]["claimRef"] = {"namespace": namespace, "name": claim}
    _apply(cluster, [volume])


def fresh_volumes(cluster: Cluster) -> int:
    """Empty the volumes whose claim is gone and offer them again; how many. Bound ones are not touched."""
    released = [name for name, phase in _phases(cluster).items() if phase in {"Released", "Failed"}]
    ours = [name for name in released if name in {*_names(), SMALL}]
    if ours:
        cluster.kubectl("delete", "persistentvolume", *ours, "--wait=true")
        for name in ours:
            if (VOLUMES / name).is_mount():
                run("umount", VOLUMES / name)
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
            "local": {"path": str(VOLUMES / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [_ON_THE_NODE]}]}},
        },
    }


def _apply(cluster: Cluster, objects: list[dict[str, Any]]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("apply", "--server-side", "--filename=-", input=json.dumps(listed))

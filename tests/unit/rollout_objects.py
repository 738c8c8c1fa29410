"""Cluster objects during a rollout, as the Kubernetes API returns them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

REVISION = "deployment.kubernetes.io/revision"


def deployment(*, ready: int = 0, wanted: int = 1, observed: int = 2, old: int = 0, revision: str = "2") -> Object:
    """Return a Deployment named web in its second generation, with `old` pods of the first one."""
    return _object(
        "Deployment",
        "web",
        annotations={REVISION: revision},
        spec={"replicas": wanted},
        status={
            "observedGeneration": observed,
            "replicas": wanted + old,
            "updatedReplicas": wanted,
            "availableReplicas": ready,
        },
    )


def replica_set(revision: str = "2", refused: str = "") -> Object:
    """Return a ReplicaSet of the Deployment."""
    refusal = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refused}
    return _object(
        "ReplicaSet",
        f"web-{revision}",
        owner="web",
        annotations={REVISION: revision},
        status={"conditions": [refusal] if refused else []},
    )


def stateful_set(*, ready: int = 0, wanted: int = 1, current: str = "old") -> Object:
    """Return a StatefulSet named store, with `new` as its update revision."""
    return _object(
        "StatefulSet",
        "store",
        spec={"replicas": wanted},
        status={
            "observedGeneration": 2,
            "readyReplicas": ready,
            "updatedReplicas": wanted,
            "currentRevision": current,
            "updateRevision": "new",
        },
    )


def job(condition: str = "", message: str = "") -> Object:
    """Return a Job named migrate-1."""
    conditions = [{"type": condition, "status": "True", "reason": "BackoffLimitExceeded", "message": message}]
    return _object("Job", "migrate-1", spec={}, status={"conditions": conditions if condition else []})


def postgres_cluster(phase: str = "Setting up primary", reason: str = "", *, image: str = "postgresql:18.2") -> Object:
    """Return a CloudNativePG Cluster named db with two instances."""
    spec = {"instances": 2, "imageName": image}
    return _object("Cluster", "db", spec=spec, status={"phase": phase, "phaseReason": reason, "readyInstances": 2})


def server(name: str, *, image: str = "postgresql:18.2", ready: bool = True, pulls: str = "", init: str = "") -> Object:
    """Return an instance of the Cluster: ready, or with a failed image pull of its main or init container."""
    container = {"name": "postgres", "image": image}
    state = waiting(pulls) if pulls else waiting("PodInitializing") if init else {"running": {}}
    status = {"name": "postgres", "ready": ready, "restartCount": 0, "state": state}
    done = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    first = {"name": "bootstrap-controller", "ready": not init, "restartCount": 0}
    first["state"] = waiting(init) if init else done
    return _object(
        "Pod",
        name,
        labels={"cnpg.io/cluster": "db"},
        spec={"containers": [container], "volumes": []},
        status={
            "phase": "Running" if ready else "Pending",
            "initContainerStatuses": [first],
            "containerStatuses": [status],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    )


def pod(
    name: str,
    owner: str,
    state: Mapping[str, Any] | None = None,
    *,
    restarts: int = 0,
    last: Mapping[str, Any] | None = None,
    conditions: Mapping[str, str | Mapping[str, Any]] | None = None,
    revision: str = "new",
    phase: str = "Pending",
    claim: str = "",
) -> Object:
    """Return a pod with one container named main."""
    container = {"name": "main", "ready": False, "restartCount": restarts, "state": state or {"running": {}}}
    if last:
        container["lastState"] = {"terminated": last}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}] if claim else []
    return _object(
        "Pod",
        name,
        owner=owner,
        labels={"controller-revision-hash": revision},
        spec={"containers": [{"name": "main", "resources": {"limits": {"memory": "64Mi"}}}], "volumes": volumes},
        status={
            "phase": phase,
            "containerStatuses": [container] if state or last else [],
            "conditions": [
                {"type": kind, **({"status": found} if isinstance(found, str) else found)}
                for kind, found in (conditions or {}).items()
            ],
        },
    )


def claim(storage_class: str | None) -> Object:
    """Return the PVC of the StatefulSet's first pod, unbound."""
    return _object(
        "PersistentVolumeClaim",
        "data-store-0",
        spec={"storageClassName": storage_class} if storage_class else {},
        status={"phase": "Pending"},
    )


def waiting(reason: str, message: str = "") -> Object:
    """Return the status of a waiting container."""
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "Error", message: str = "") -> Object:
    """Return the status of a terminated container."""
    return {"exitCode": code, "reason": reason, "message": message}


def _object(
    kind: str, name: str, *, owner: str = "", labels: Any = None, annotations: Any = None, **parts: Any
) -> Object:
    metadata = {
        "name": name,
        "uid": f"uid of {name}",
        "generation": 2,
        "labels": labels or {},
        "annotations": annotations or {},
        "ownerReferences": [{"uid": f"uid of {owner}"}] if owner else [],
    }
    return {"kind": kind, "metadata": metadata, **parts}

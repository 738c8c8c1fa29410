"""The pod of a workload: its container, its mounts and its security context."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi

from backends.kubernetes import labels
from backends.kubernetes.claims import claim_names
from backends.kubernetes.manifest import Manifest, cores, mebibytes
from workloads import Check, Endpoint, Exec, HttpGet, LongRunning, Service, StatefulService, Task, Workload

DRAIN_S = 5
"""Seconds for which a terminating pod continues to serve, because callers learn of its termination later."""

NATIVE_SLEEP_FROM = 33
"""Minor version of the API server from which on every kubelet supports the lifecycle action `sleep`: it is on by
default since 1.30, and a kubelet is at most three minor versions older than its API server."""

WORLD_READABLE = 0o444
GROUP_READABLE = 0o440


@dataclass(frozen=True)
class PodContext:
    """The cluster's objects for a workload's pods."""

    image: str
    """Reference with the mirror's prefix."""

    files: Mapping[str, pulumi.Input[str]]
    """Maps each file set to the ConfigMap or Secret that contains it."""

    has_native_sleep: bool = False
    """Whether the kubelets support the lifecycle action `sleep`."""

    owners: Mapping[str, Workload] = field(default_factory=dict)
    """Maps the name of each owner of a shared volume to its workload."""


def pod_template(workload: Workload, context: PodContext) -> Manifest:
    """Return the pod template of a controller."""
    pod_labels = labels.labels_for(workload)
    for call in workload.connects_to:
        if isinstance(call, Endpoint):
            pod_labels |= labels.connection_label(call)
    spec: Manifest = {
        "serviceAccountName": workload.name,
        "automountServiceAccountToken": workload.reads_node_metrics or workload.reads_deployed_objects,
        # A Service named kafka would add KAFKA_PORT to every environment, which some images read as a setting.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": workload.user,
            "runAsGroup": workload.user,
            "fsGroup": workload.user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": termination_grace_s(workload),
        "containers": [_container(workload, context)],
    }
    if _has_exec_probes(workload):
        # When a check is killed, its children are reparented to process 1. If that is PostgreSQL, it mistakes the exit
        # of such a child for the crash of a server process, and restarts all of them (docker-library/postgres#1349).
        spec["shareProcessNamespace"] = True
    if volumes := _volumes(workload, context):
        spec["volumes"] = volumes
    if context.owners:
        spec["affinity"] = _beside(workload, context.owners.values())
    if isinstance(workload, Task):
        # Each attempt is a separate pod, so its log is kept.
        spec["restartPolicy"] = "Never"
    else:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels.selector(workload.name)},
            }
        ]
    return {"metadata": {"labels": pod_labels}, "spec": spec}


def _beside(workload: Workload, owners: Iterable[Workload]) -> Manifest:
    """Require the node of a running owner, because only the pods of one node can use a claim at the same time.

    If no owner runs, any node will do: the term also selects the workload's own pods, and the scheduler ignores a term
    that selects only the pod itself. An owner that always runs decides: a run of a scheduled one on another node ends,
    and the pod waits for the claim until then.
    """
    owners = list(owners)
    decisive = [one for one in owners if isinstance(one, LongRunning)] or owners
    term = {
        "labelSelector": {
            "matchLabels": {labels.PART_OF_LABEL: labels.PLATFORM},
            "matchExpressions": [
                {
                    "key": labels.NAME_LABEL,
                    "operator": "In",
                    "values": sorted([workload.name, *(one.name for one in decisive)]),
                }
            ],
        },
        "topologyKey": "kubernetes.io/hostname",
    }
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def _has_exec_probes(workload: Workload) -> bool:
    """Return whether the kubelet periodically runs a command in the container."""
    probes = (workload.readiness, workload.liveness) if isinstance(workload, LongRunning) else ()
    return any(isinstance(one.check, Exec) for one in probes if one)


def termination_grace_s(workload: Workload) -> int:
    """Return the seconds between SIGTERM and SIGKILL of a pod."""
    return workload.stop_grace_s + (DRAIN_S if _needs_drain(workload) else 0)


def _needs_drain(workload: Workload) -> bool:
    return isinstance(workload, Service) and bool(workload.ports)


def _container(workload: Workload, context: PodContext) -> Manifest:
    container: Manifest = {
        "name": workload.name,
        "image": context.image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": workload.read_only_root,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": cores(workload.cpu_request), "memory": mebibytes(workload.memory_mib)},
            "limits": {"memory": mebibytes(workload.memory_mib)},
        },
        # The update's error includes the last log lines of a failed container.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **_probes(workload),
    }
    optional = {
        "command": list(workload.command),
        "args": list(workload.arguments),
        "env": [{"name": name, "value": value} for name, value in sorted(workload.environment.items())],
        "ports": [{"containerPort": port.number, "protocol": "TCP"} for port in workload.ports],
        "volumeMounts": _mounts(workload),
    }
    container |= {key: value for key, value in optional.items() if value}
    if _needs_drain(workload):
        # Without the command in the image, the container stops immediately (docs/service-contract.md).
        by_command = {"exec": {"command": ["sleep", str(DRAIN_S)]}}
        container["lifecycle"] = {
            "preStop": {"sleep": {"seconds": DRAIN_S}} if context.has_native_sleep else by_command
        }
    return container


def _probes(workload: Workload) -> Manifest:
    """Return the probes. Only those from `liveness` restart a container; a startup probe never uses
    `readiness.check`."""
    probes: Manifest = {}
    if not isinstance(workload, LongRunning):
        return probes
    ready, alive = workload.readiness, workload.liveness
    if ready:
        probes["readinessProbe"] = _probe(ready.check, ready.period_s, ready.timeout_s, ready.failures)
    if ready and alive:
        # The startup probe has the interval of the readiness probe, which only runs once the startup probe succeeded.
        startup = math.ceil(alive.startup_s / ready.period_s)
        probes["startupProbe"] = _probe(alive.check, ready.period_s, alive.timeout_s, startup)
        probes["livenessProbe"] = _probe(alive.check, alive.period_s, alive.timeout_s, alive.failures)
    return probes


def _probe(check: Check, period_s: int, timeout_s: int, failures: int) -> Manifest:
    return {
        **_probe_handler(check),
        "periodSeconds": period_s,
        "timeoutSeconds": timeout_s,
        "failureThreshold": failures,
    }


def _probe_handler(check: Check) -> Manifest:
    if isinstance(check, Exec):
        return {"exec": {"command": list(check.command)}}
    if isinstance(check, HttpGet):
        return {"httpGet": {"path": check.path, "port": check.port}}
    return {"tcpSocket": {"port": check.port}}


def _mounts(workload: Workload) -> list[Manifest]:
    return [
        *({"name": volume.name, "mountPath": volume.mount} for volume in workload.volumes),
        *(
            {"name": shared.name, "mountPath": shared.mount, **({} if shared.writable else {"readOnly": True})}
            for shared in workload.shared_volumes
        ),
        *({"name": f"files-{one.name}", "mountPath": one.directory, "readOnly": True} for one in workload.file_sets),
        *({"name": f"scratch-{index}", "mountPath": scratch.path} for index, scratch in enumerate(workload.scratch)),
    ]


def _volumes(workload: Workload, context: PodContext) -> list[Manifest]:
    """Return the pod's volumes. A StatefulSet adds its claims itself."""
    volumes: list[Manifest] = []
    if not isinstance(workload, StatefulService):
        for volume in workload.volumes:
            (claim,) = claim_names(volume, workload)
            volumes.append({"name": volume.name, "persistentVolumeClaim": {"claimName": claim}})
    for shared in workload.shared_volumes:
        owner = context.owners[shared.owner]
        (volume,) = (volume for volume in owner.volumes if volume.name == shared.name)
        (claim,) = claim_names(volume, owner)
        volumes.append({"name": shared.name, "persistentVolumeClaim": {"claimName": claim}})
    for one in workload.file_sets:
        source: dict[str, Any]
        if one.secret or one.external_secret is not None:
            source = {"secret": {"secretName": context.files[one.name], "defaultMode": GROUP_READABLE}}
        else:
            source = {"configMap": {"name": context.files[one.name], "defaultMode": WORLD_READABLE}}
        volumes.append({"name": f"files-{one.name}", **source})
    for index, scratch in enumerate(workload.scratch):
        limited = {"medium": "Memory", "sizeLimit": mebibytes(scratch.size_mib)}
        volumes.append({"name": f"scratch-{index}", "emptyDir": limited})
    return volumes

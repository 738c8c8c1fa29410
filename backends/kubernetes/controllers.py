"""What keeps a workload's pods running: a Deployment, a StatefulSet or a Job."""

from __future__ import annotations

import pulumi

from backends.kubernetes import labels
from backends.kubernetes.claims import claim_template
from backends.kubernetes.manifest import Manifest, manifest
from backends.kubernetes.pod import grace_s
from workloads import Kind, Workload

PULL_S = 120
"""Seconds granted beyond a workload's own, to find a node and to pull its image."""

SETTLE_S = 5
"""Seconds a new pod must stay ready before the next old one goes."""

ATTEMPTS = 3
"""Pods a task may take: the first can meet a network policy that its node doesn't know yet."""


def controller(workload: Workload, template: Manifest) -> Manifest:
    """The object that runs a workload's pods."""
    build = {Kind.SERVICE: deployment, Kind.STATEFUL: stateful_set, Kind.TASK: job}[workload.kind]
    return build(workload, template)


def deployment(workload: Workload, template: Manifest) -> Manifest:
    """Interchangeable pods. In an update each one is replaced only once its successor serves."""
    spec: Manifest = {
        "selector": {"matchLabels": labels.selector(workload.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "minReadySeconds": SETTLE_S,
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": _startup_s(workload) + PULL_S,
        "template": template,
    }
    # Both would set the number in turn (pulumi/pulumi-kubernetes#2491).
    if workload.autoscaling is None:
        spec["replicas"] = workload.replicas
    return manifest("apps/v1", "Deployment", name=workload.name, labels=_labels(workload), spec=spec)


def stateful_set(workload: Workload, template: Manifest) -> Manifest:
    """Pods with names and volumes of their own; in an update one is stopped before its successor starts."""
    spec: Manifest = {
        "selector": {"matchLabels": labels.selector(workload.name)},
        "serviceName": f"{workload.name}-peers",
        "replicas": workload.replicas,
        # OrderedReady waits for ever for a pod that can't become ready, also once a right template is back
        # (kubernetes/kubernetes#67250); and members of one group wait for each other, so that the first alone wouldn't.
        # Updates go one by one either way.
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate"},
        "revisionHistoryLimit": 3,
        "template": template,
    }
    if workload.volumes:
        spec["volumeClaimTemplates"] = [claim_template(volume) for volume in workload.volumes]
    return manifest("apps/v1", "StatefulSet", name=workload.name, labels=_labels(workload), spec=spec)


def job(workload: Workload, template: Manifest) -> Manifest:
    """A run of the task. It has no name of its own: a changed task is another Job."""
    return manifest(
        "batch/v1",
        "Job",
        name=None,
        labels=_labels(workload),
        # A Job that failed stays as it is for ever; this makes the next update start another.
        annotations={"pulumi.com/replaceUnready": "true"},
        spec={
            "backoffLimit": ATTEMPTS - 1,
            # It runs from the Job's creation: finding a node and pulling the image count, too.
            "activeDeadlineSeconds": _deadline_s(workload),
            "template": template,
        },
    )


def timeouts(workload: Workload) -> pulumi.CustomTimeouts:
    """How long an update waits for the controller of a workload."""
    one_by_one = max(workload.replicas, workload.autoscaling.maximum if workload.autoscaling else 1)
    if workload.kind is Kind.TASK:
        # A Job counts as failed once its pods have ended, so that its own error is seen before this one.
        ready_s = _deadline_s(workload) + grace_s(workload) + SETTLE_S
    else:
        ready_s = one_by_one * (_startup_s(workload) + SETTLE_S + grace_s(workload)) + PULL_S
    return pulumi.CustomTimeouts(
        create=f"{ready_s}s", update=f"{ready_s}s", delete=f"{one_by_one * grace_s(workload) + PULL_S}s"
    )


def _deadline_s(task: Workload) -> int:
    return task.timeout_s + PULL_S


def _startup_s(workload: Workload) -> int:
    return workload.readiness.startup_s if workload.readiness else 0


def _labels(workload: Workload) -> dict[str, str]:
    return labels.labels(workload.name, workload.kind.value)

"""Controllers of a workload's pods: a Deployment, a StatefulSet, a Job or a CronJob."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pulumi

from backends.kubernetes import labels
from backends.kubernetes.claims import claim_template
from backends.kubernetes.manifest import NO_WAIT, Manifest, manifest
from backends.kubernetes.pod import termination_grace_s
from workloads import LongRunning, ScheduledTask, Service, StatefulService, Task, Workload

SCHEDULE_AND_PULL_S = 120
"""Seconds in addition to a workload's start-up time, for scheduling and pulling the image."""

TASK_PULL_TIMEOUT_S = 900
"""Seconds granted to each pod of a task to pull its image. The update itself stops waiting `timeout_s` after the
container has started; this deadline kills the pod."""

AUTOSCALED_ANNOTATION = {"pti-calendar/replicas": "autoscaler"}
"""Annotation of a Deployment that an autoscaler controls. If autoscaling is removed and the program sets the same
number of replicas as before it, only the annotation differs. Without a difference, the update would keep the
autoscaler's number."""

REPLICAS_FIELD = "spec.replicas"

MIN_READY_S = 5
"""Seconds that a new pod must be ready before the next old one is stopped."""

MAX_ATTEMPTS = 3
"""Maximum number of pods of a task: the first may start before its node enforces a new network policy."""

KEPT_RUNS = 3
"""Number of successful and of failed runs of a scheduled task whose pods, with their logs, are kept."""


CONTROLLER_KINDS: Mapping[type[Workload], str] = {
    Service: "Deployment",
    StatefulService: "StatefulSet",
    Task: "Job",
    ScheduledTask: "CronJob",
}


def controller(workload: Workload, template: Manifest) -> Manifest:
    """Return the controller of a workload's pods."""
    build: Mapping[type[Workload], Callable[[Any, Manifest], Manifest]]
    build = {Service: deployment, StatefulService: stateful_set, Task: job, ScheduledTask: cron_job}
    return build[type(workload)](workload, template)


def deployment(workload: Service, template: Manifest) -> Manifest:
    """Return a Deployment. An update removes a pod only once its successor is ready."""
    spec: Manifest = {
        "selector": {"matchLabels": labels.selector(workload.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "minReadySeconds": MIN_READY_S,
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": _startup_s(workload) + SCHEDULE_AND_PULL_S,
        "template": template,
        # With autoscaling, this is the initial number: see `externally_managed_fields`.
        "replicas": workload.min_replicas,
    }
    return manifest(
        "apps/v1",
        "Deployment",
        name=workload.name,
        labels=labels.labels_for(workload),
        annotations={**NO_WAIT, **(AUTOSCALED_ANNOTATION if workload.autoscaling else {})},
        spec=spec,
    )


def externally_managed_fields(workload: Workload) -> list[str]:
    """Return the fields of a controller that another controller sets once it exists.

    The autoscaler and the program would set the number of replicas in turn (pulumi/pulumi-kubernetes#2491). The field
    can't be omitted either: the API server removes a field that its only owner omits, and the default is one pod
    (kubernetes/kubernetes#67135). With the field ignored, the provider applies the current number until the autoscaler
    owns it.
    """
    return [REPLICAS_FIELD] if isinstance(workload, Service) and workload.autoscaling else []


def stateful_set(workload: StatefulService, template: Manifest) -> Manifest:
    """Return a StatefulSet. An update stops a pod before its successor starts."""
    spec: Manifest = {
        "selector": {"matchLabels": labels.selector(workload.name)},
        "serviceName": f"{workload.name}-peers",
        "replicas": workload.replicas,
        # OrderedReady waits forever for a pod that can't become ready, even after the template is corrected
        # (kubernetes/kubernetes#67250). Members of one group wait for each other, so that the first one alone would
        # never become ready. Updates replace one pod at a time either way.
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate"},
        "revisionHistoryLimit": 3,
        "template": template,
    }
    if workload.volumes:
        spec["volumeClaimTemplates"] = [claim_template(volume) for volume in workload.volumes]
    return manifest(
        "apps/v1", "StatefulSet", name=workload.name, labels=labels.labels_for(workload), annotations=NO_WAIT, spec=spec
    )


def job(workload: Task, template: Manifest) -> Manifest:
    """Return the Job of a task. Its name is generated, so a changed task is another Job."""
    return manifest(
        "batch/v1",
        "Job",
        name=None,
        labels=labels.labels_for(workload),
        # A failed Job never runs again; with this annotation, the next update replaces it.
        annotations={"pulumi.com/replaceUnready": "true", **NO_WAIT},
        spec=_job_spec(workload, template),
    )


def cron_job(workload: ScheduledTask, template: Manifest) -> Manifest:
    """Return the CronJob of a scheduled task. The update doesn't wait for a run."""
    # A run whose pods can't start would otherwise hold back every later one.
    deadline = {"activeDeadlineSeconds": MAX_ATTEMPTS * _pod_deadline_s(workload)}
    return manifest(
        "batch/v1",
        "CronJob",
        name=workload.name,
        labels=labels.labels_for(workload),
        annotations=NO_WAIT,
        spec={
            "schedule": workload.schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": workload.start_deadline_s,
            "successfulJobsHistoryLimit": KEPT_RUNS,
            "failedJobsHistoryLimit": KEPT_RUNS,
            "jobTemplate": {
                "metadata": {"labels": labels.labels_for(workload)},
                "spec": {**deadline, **_job_spec(workload, template)},
            },
        },
    )


def timeouts(workload: Workload) -> pulumi.CustomTimeouts:
    """Return how long an update waits for the deletion of a controller."""
    return pulumi.CustomTimeouts(
        delete=f"{_sequential_pods(workload) * termination_grace_s(workload) + SCHEDULE_AND_PULL_S}s"
    )


def rollout_timeout_s(workload: Workload) -> int:
    """Return for how many seconds without progress an update waits for a controller's rollout."""
    if isinstance(workload, Task):
        return MAX_ATTEMPTS * (workload.timeout_s + termination_grace_s(workload)) + SCHEDULE_AND_PULL_S
    return (
        _sequential_pods(workload) * (_startup_s(workload) + MIN_READY_S + termination_grace_s(workload))
        + SCHEDULE_AND_PULL_S
    )


def _sequential_pods(workload: Workload) -> int:
    """Return how many pods start one after the other."""
    return workload.max_replicas if isinstance(workload, LongRunning) else 1


def _job_spec(task: Task, template: Manifest) -> Manifest:
    # This deadline applies to each attempt. The deadline of a Job would cover all attempts and begin before scheduling.
    spec = {**template["spec"], "activeDeadlineSeconds": _pod_deadline_s(task)}
    return {"backoffLimit": MAX_ATTEMPTS - 1, "template": {**template, "spec": spec}}


def _pod_deadline_s(task: Task) -> int:
    return task.timeout_s + TASK_PULL_TIMEOUT_S


def _startup_s(workload: Workload) -> int:
    return workload.readiness.startup_s if isinstance(workload, LongRunning) and workload.readiness else 0

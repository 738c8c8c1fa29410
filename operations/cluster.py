"""A stack in its Kubernetes namespace: status, logs and data, through kubectl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from backends.kubernetes import client, labels, manual_changes
from backends.kubernetes.claims import missing_claim_message, terminating_claim_message
from backends.kubernetes.kubectl import NOT_INSTALLED
from backends.kubernetes.labels import NAME_LABEL
from backends.kubernetes.missing_claims import missing_claims, terminating_claims
from backends.kubernetes.observed import OPERATOR_SELECTORS, PLATFORM_SELECTOR, SELECTORS
from backends.kubernetes.ownership import foreign_owner
from backends.kubernetes.postgres_cluster import KIND
from backends.kubernetes.postgres_cluster import RESOURCE as CLUSTER_RESOURCE
from backends.kubernetes.rollout_status import rollout
from operations import cluster_diagnosis
from operations.configuration import read_configuration
from operations.doctor.finding import ClockOffset, Finding, Instance
from operations.job_run import INTERRUPTED, JobRun
from operations.project import OperationError
from operations.runtimes import RetainedData, no_such_task
from settings.backend import KubernetesSettings

REQUEST_TIMEOUT_S = 30
CLUSTER_LABEL = "cnpg.io/cluster"
"""Label of CloudNativePG's pods; their `app.kubernetes.io/name` is always `postgresql`."""

READINESS_KINDS = "deployments,replicasets,statefulsets,pods,persistentvolumeclaims"
"""Kinds that show whether a workload is ready; CloudNativePG's kinds are added if the stack uses it."""

LONG_RUNNING_KINDS = ("Deployment", "StatefulSet", KIND)
"""Kinds whose pods must stay ready."""

STATUS_KINDS = "pods,cronjobs,services,ingresses,horizontalpodautoscalers,persistentvolumeclaims"
LEFTOVER_KINDS = "jobs,networkpolicies,secrets,configmaps"
"""Kinds without data that may remain after a destroy: a retained policy, and objects that a lost state has created."""

MAX_LOG_PODS = 100
"""Maximum number of pods of one workload whose logs are followed: as many as the settings allow."""


def unreachable_reason(stack: str) -> str | None:
    """Return why the configured cluster can't be updated; None if it can."""
    return client.unreachable_reason(_cluster(stack))


def why_elsewhere(stack: str, recorded: Sequence[Mapping[str, Any]]) -> str | None:
    """Return None: the kubeconfig's context is part of the state's provider."""
    del stack, recorded
    return None


def may_have_drifted(stack: str, recorded: Sequence[Mapping[str, Any]]) -> bool:
    """Return True: only a refresh, which compares each object, finds manual edits."""
    del stack, recorded
    return True


def repair_manual_changes(stack: str, recorded: Sequence[Mapping[str, Any]]) -> None:
    """Prepare the repair of manual changes that the comparison with the state doesn't find: see `manual_changes`."""
    del recorded
    repair(_cluster(stack), labels.instance(stack))


def repair(cluster: KubernetesSettings, instance: str) -> None:
    """Repair the objects with this value of the label `INSTANCE_LABEL`, and print each repair."""
    listed = _kubectl(cluster, "get", manual_changes.KINDS, "--show-managed-fields", "--output", "json")
    for found in manual_changes.repairs(json.loads(listed)["items"], instance):
        print(f"· {found.message}", flush=True)
        for command in found.commands:
            _kubectl(cluster, *command)


def unready_workloads(stack: str) -> list[str]:
    """Return the workloads with too few ready pods, and what the cluster reports about them."""
    settings, _ = read_configuration(stack)
    selectors = {READINESS_KINDS: PLATFORM_SELECTOR}
    if settings.postgres.mode == "cloudnativepg":
        selectors |= OPERATOR_SELECTORS[KIND]
    objects = [
        one
        for kinds, selector in selectors.items()
        for one in json.loads(_kubectl(settings.kubernetes, "get", kinds, "--selector", selector, "--output", "json"))[
            "items"
        ]
    ]
    found = []
    for one in objects:
        name, kind = one["metadata"]["name"], one["kind"]
        state = rollout(kind, name, None, objects) if kind in LONG_RUNNING_KINDS else None
        if state and not state.is_done:
            found.append("\n    ".join([f"{name}: {state.summary}", *map(str, state.all_problems({}))]))
    return found


def workload_findings(stack: str, recorded: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Return what is wrong with the stack's pods: see `cluster_diagnosis`."""
    return cluster_diagnosis.findings(_cluster(stack), stack, recorded, _selectors(stack))


def instances(stack: str) -> list[Instance]:
    """Return the running pods of the stack that aren't Jobs', with their claims."""
    return cluster_diagnosis.instances(_cluster(stack), _selectors(stack))


def execute(stack: str, instance: Instance, command: Sequence[str]) -> str:
    """Return the output of a command in a pod."""
    return cluster_diagnosis.execute(_cluster(stack), instance, command)


def taken_ports(stack: str, ports: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return an empty list: a cluster binds no host ports."""
    del stack, ports
    return []


def clock_offset(stack: str) -> ClockOffset:
    """Return the offset of the API server's clock."""
    return cluster_diagnosis.clock_offset(_cluster(stack))


def show_status(stack: str) -> None:
    """Print the namespace's pods (ready, restarts), CronJobs (active, last run), Services, Ingresses, autoscalers,
    claims, and which of these are missing or being deleted."""
    shown = _kubectl(_cluster(stack), "get", STATUS_KINDS, "--output", "wide")
    if not shown.strip():
        raise OperationError(f"Stack '{stack}' has no objects {location(stack)}. Bring it up: make up STACK={stack}")
    print(shown.rstrip())
    listed = _kubectl(_cluster(stack), "get", "persistentvolumeclaims", "--output", "json")
    for message in (
        *map(missing_claim_message, missing_claims(listed)),
        *map(terminating_claim_message, terminating_claims(listed)),
    ):
        print(f"\n{message}")


def follow_logs(stack: str, workload: str, *, follow: bool) -> int:
    """Follow the logs of all pods of a workload, each line with its pod. Return kubectl's exit code."""
    cluster = _cluster(stack)
    pods = json.loads(_kubectl(cluster, "get", "pods", "--output", "json"))["items"]
    labels = {_workload(pod): _label(pod) for pod in pods}
    if workload not in labels:
        known = ", ".join(sorted(filter(None, labels))) or "none: the stack is not up"
        raise OperationError(f"Stack '{stack}' runs no '{workload}'; it runs {known}.")
    selected = ["--selector", f"{labels[workload]}={workload}", "--all-containers", "--prefix", "--tail", "200"]
    command = ["logs", *selected, f"--max-log-requests={MAX_LOG_PODS}", *(["--follow"] if follow else [])]
    try:
        return subprocess.run(_command(cluster, *command)).returncode
    except KeyboardInterrupt:
        return 0


def run_task(stack: str, workload: str, command: Sequence[str] | None = None) -> int:
    """Run a scheduled task, or another command in its container, as a Job of its CronJob. See `Runtime.run_task`."""
    cluster = _cluster(stack)
    listed = _kubectl(cluster, "get", "cronjobs", "--selector", PLATFORM_SELECTOR, "--output", "json")
    tasks = {one["metadata"]["name"]: one for one in json.loads(listed)["items"]}
    if workload not in tasks:
        raise no_such_task(stack, workload, tasks)
    return JobRun(
        tasks[workload],
        command,
        lambda arguments, given: _kubectl(cluster, *arguments, given=given),
        partial(_command, cluster),
    ).run()


def run_in_container(stack: str, workload: str, command: Sequence[str], cancel: Sequence[str]) -> int:
    """Run a command in the first pod of a workload's StatefulSet. See `Runtime.run_in_container`."""
    cluster = _cluster(stack)
    listed = _kubectl(cluster, "get", "statefulsets", "--selector", PLATFORM_SELECTOR, "--output", "json")
    names = [one["metadata"]["name"] for one in json.loads(listed)["items"]]
    if workload not in names:
        known = ", ".join(sorted(names)) or f"none. If the stack isn't up: make up STACK={stack}"
        raise OperationError(f"Stack '{stack}' has no StatefulSet '{workload}'; its StatefulSets: {known}")
    inside = ["exec", f"{workload}-0", f"--container={workload}", "--"]
    # In a session of its own, kubectl doesn't get Ctrl-C: it would end and leave the run alone.
    running = subprocess.Popen(_command(cluster, *inside, *command), stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return running.wait()
    except KeyboardInterrupt:
        _kubectl(cluster, *inside, *cancel)
        running.wait()
        return INTERRUPTED


def destroy_obstacles(stack: str, recorded: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the namespace if it belongs to another stack or an unknown owner: it would be deleted with everything in
    it."""
    del recorded
    cluster = _cluster(stack)
    found = _kubectl(
        cluster, "get", "namespace", cluster.namespace, "--ignore-not-found", "--output", "jsonpath={.metadata.labels}"
    )
    if not found or not (owner := foreign_owner(json.loads(found), labels.instance(stack), retain=True)):
        return []
    return [
        f"namespace '{cluster.namespace}' belongs to {owner}: check kubernetes.namespace and kubernetes.context in "
        f"Pulumi.{stack}.yaml"
    ]


def retained_data(stack: str) -> list[RetainedData]:
    """Return the namespace's claims. Whether a deleted claim's disk is kept depends on its storage class."""
    listed = _kubectl(_cluster(stack), "get", "persistentvolumeclaims", "--output", "json")
    return [
        RetainedData(f"persistentvolumeclaim/{claim['metadata']['name']}", _workload(claim))
        for claim in json.loads(listed)["items"]
    ]


def deletion_plan(stack: str, kept: Sequence[RetainedData]) -> list[str]:
    """Return the claims that aren't kept, and the namespace if none is."""
    claims = [one.name for one in retained_data(stack) if one not in kept]
    return claims if kept else [f"namespace/{_cluster(stack).namespace}, with everything in it", *claims]


def delete_data(stack: str, kept: Sequence[RetainedData]) -> None:
    """Delete the namespace with everything in it; if something is kept, only the stack's objects except for that.

    Raises:
        OperationError: not everything was deleted.
    """
    cluster = _cluster(stack)
    if not kept:
        _delete(cluster, "namespace", cluster.namespace)
        return
    if read_configuration(stack)[0].postgres.mode == "cloudnativepg":
        # Its claims are deleted with it.
        _delete(cluster, CLUSTER_RESOURCE, "--selector", PLATFORM_SELECTOR, "--cascade=foreground")
    _delete(cluster, LEFTOVER_KINDS, "--selector", PLATFORM_SELECTOR)
    if claims := [one.name for one in retained_data(stack) if one not in kept]:
        _delete(cluster, *claims)


def _delete(cluster: KubernetesSettings, *what: str) -> None:
    command = _command(cluster, "delete", *what, "--ignore-not-found")
    if code := subprocess.run(command).returncode:
        raise OperationError(f"Not everything was deleted (exit code {code}). Run again: {' '.join(command)}")


def location(stack: str) -> str:
    """Return the namespace with its kubeconfig and context."""
    cluster = _cluster(stack)
    return f"in namespace {cluster.namespace} (kubeconfig {cluster.kubeconfig}, context {cluster.context})"


def _cluster(stack: str) -> KubernetesSettings:
    return read_configuration(stack)[0].kubernetes


def _selectors(stack: str) -> dict[str, str]:
    """Map the kinds of the stack's workloads to their selectors."""
    has_operator = read_configuration(stack)[0].postgres.mode == "cloudnativepg"
    return {**SELECTORS, **(OPERATOR_SELECTORS[KIND] if has_operator else {})}


def _label(pod: Any) -> str:
    """Return the name of the label that identifies a pod's workload."""
    return CLUSTER_LABEL if CLUSTER_LABEL in pod["metadata"].get("labels", {}) else NAME_LABEL


def _workload(pod: Any) -> str:
    return str(pod["metadata"].get("labels", {}).get(_label(pod), ""))


def _command(cluster: KubernetesSettings, *arguments: str) -> list[str]:
    """Return kubectl's command line for the configured cluster and namespace, whatever the environment names."""
    kubeconfig = str(Path(cluster.kubeconfig or "").expanduser())
    chosen = ["--kubeconfig", kubeconfig, "--context", cluster.context or "", "--namespace", cluster.namespace]
    return ["kubectl", *chosen, *arguments]


def _kubectl(cluster: KubernetesSettings, *arguments: str, given: str = "") -> str:
    """Return kubectl's output; `given` is its standard input.

    Raises:
        OperationError: kubectl is missing, or the cluster refuses or doesn't respond.
    """
    limited = [f"--request-timeout={REQUEST_TIMEOUT_S}s", *arguments]
    try:
        done = subprocess.run(_command(cluster, *limited), input=given, capture_output=True, text=True)
    except FileNotFoundError:
        raise OperationError(NOT_INSTALLED) from None
    if done.returncode:
        raise OperationError(f"'{' '.join(_command(cluster, *arguments))}' failed:\n  {done.stderr.strip()}")
    return done.stdout

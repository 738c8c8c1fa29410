"""What is wrong with the pods of a stack, as kubectl shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

from backends.kubernetes import kubectl
from backends.kubernetes.labels import NAME_LABEL
from backends.kubernetes.postgres_cluster import CLUSTER_LABEL, KIND
from backends.kubernetes.problems import Object, statuses
from backends.kubernetes.rollout_status import POSTGRES_CONTAINER, Rollout, rollout
from operations.doctor.finding import ClockOffset, CommandFailed, Finding, Instance
from operations.project import OperationError
from settings.backend import KubernetesSettings

CONTROLLERS = ("Deployment", "StatefulSet", "Job", KIND)
RECORDED_TYPES = {"kubernetes:apps/v1:Deployment": "Deployment", "kubernetes:apps/v1:StatefulSet": "StatefulSet"}
ROLE_LABEL = "cnpg.io/instanceRole"
"""Label of CloudNativePG's pods: `primary` or `replica`."""

LOG_MARK = "Its last lines:\n"
"""What precedes the log in the message of a problem (`problems.last_lines`)."""

DATE_PATTERN = re.compile(r"Date: (\w{3}, \d+ \w{3} \d{4} [\d:]+ GMT)")
"""The header in kubectl's log of a response."""

FIXES = {
    "image": "Check the name of the image, and whether the cluster may pull it "
    "(docs/runbook.md#an-image-cant-be-pulled). Then: {update}",
    "configuration": "Create what the message names, or restore it: {update}",
    "scheduling": "Add a node, or lower the requests: kubectl describe pod -n {namespace} shows what each node lacks.",
    "claim": "See docs/stores.md#a-claim-or-volume-is-missing, and: kubectl describe pvc -n {namespace}",
    "deletion": "If its node is lost: docs/runbook.md#a-node-is-lost",
    "crash": "Correct what its log reports, then: {update}. The whole log: {logs}",
    "OOMKilled": "Raise memoryMib in its section of the configuration (docs/configuration.md), then: {update}",
}
"""What to do per kind of problem, or per reason."""

DEFAULT_FIX = "See docs/runbook.md#a-rollout-fails, and its log: {logs}"


def findings(
    cluster: KubernetesSettings, stack: str, recorded: Sequence[Mapping[str, Any]], selectors: Mapping[str, str]
) -> list[Finding]:
    """Return the findings about the controllers and their pods.

    Args:
        cluster: the stack's cluster.
        stack: its name.
        recorded: the resources of its state.
        selectors: the selector of each kind of its workloads.
    """
    with ThreadPoolExecutor(1) as threads:
        warnings = threads.submit(_probe_warnings, cluster)
        objects = _objects(cluster, selectors)
    texts = {"stack": stack, "update": f"make up STACK={stack}", "namespace": cluster.namespace}
    found = []
    for one in objects:
        kind, name = one["kind"], one["metadata"]["name"]
        state = rollout(kind, name, one["metadata"]["uid"], objects) if kind in CONTROLLERS else None
        if state and not state.is_done:
            finding = _finding(_workload(one), state, texts, warnings.result())
            # A Job that runs is as it should be; other workloads become ready.
            if kind != "Job" or finding.severity != "warning":
                found.append(finding)
    existing = {(one["kind"], one["metadata"]["name"]) for one in objects}
    for one in recorded:
        name = one.get("outputs", {}).get("metadata", {}).get("name")
        kind = RECORDED_TYPES.get(one["type"])
        if kind and name and (kind, name) not in existing:
            problem = f"Its {kind} was deleted."
            found.append(Finding("error", name, problem, f"Create it again: {texts['update']}"))
    return found


def _finding(workload: str, state: Rollout, texts: Mapping[str, str], warnings: Mapping[str, str]) -> Finding:
    logs = f"make logs STACK={texts['stack']} SERVICE={workload}"
    # Problems that are normal during a start come last.
    problems = sorted(state.all_problems({}), key=lambda one: one.is_expected)
    first = problems[0] if problems else None
    fix = FIXES.get(first.reason, FIXES.get(first.kind, DEFAULT_FIX)) if first else DEFAULT_FIX
    shown, outputs = [], []
    for problem in problems:
        text, _, log = str(problem).partition(LOG_MARK)
        shown.append(text.strip().removesuffix("."))
        outputs.append(log)
    if not problems:
        outputs += [warnings[name] for name in (pod["metadata"]["name"] for pod in state.pods) if name in warnings]
    if state.failure:
        text, _, log = state.failure.partition(LOG_MARK)
        shown.append(text.strip().removesuffix("."))
        outputs.append(log)
        fix = FIXES["crash"]
    is_starting = bool(state.pods) and not (problems or any(outputs) or state.failure)
    return Finding(
        "warning" if is_starting else "error",
        workload,
        "; ".join([state.summary, *shown]) + ".",
        fix.format(**texts, logs=logs),
        "\n".join(filter(None, outputs)),
    )


def instances(cluster: KubernetesSettings, selectors: Mapping[str, str]) -> list[Instance]:
    """Return the running pods that aren't Jobs', each with its claims and the paths where they are mounted."""
    return list(_instances(_objects(cluster, selectors)))


def _instances(objects: Sequence[Object]) -> Iterator[Instance]:
    for pod in objects:
        if pod["kind"] != "Pod" or pod.get("status", {}).get("phase") != "Running":
            continue
        if any(owner.get("kind") == "Job" for owner in pod["metadata"].get("ownerReferences", [])):
            continue
        labels = pod["metadata"].get("labels", {})
        workload = _workload(pod)
        claims = {
            one["name"]: one["persistentVolumeClaim"]["claimName"]
            for one in pod["spec"].get("volumes", [])
            if "persistentVolumeClaim" in one
        }
        running = {one["name"] for one in statuses(pod) if "running" in one.get("state", {})}
        for container in pod["spec"]["containers"]:
            if container["name"] in running and container["name"] in (workload, POSTGRES_CONTAINER):
                mounts = container.get("volumeMounts", [])
                yield Instance(
                    workload,
                    pod["metadata"]["name"],
                    container["name"],
                    tuple((claims[one["name"]], one["mountPath"]) for one in mounts if one["name"] in claims),
                    is_primary=labels.get(ROLE_LABEL, "primary") == "primary",
                )


def execute(cluster: KubernetesSettings, instance: Instance, command: Sequence[str]) -> str:
    """Return the output of a command in a pod."""
    try:
        return kubectl.read(cluster, "exec", instance.name, "--container", instance.container, "--", *command)
    except kubectl.KubectlError as error:
        raise CommandFailed(str(error)) from None


def clock_offset(cluster: KubernetesSettings) -> ClockOffset:
    """Return the offset of the API server's clock, from the header of a response, which has whole seconds."""
    before = time()
    # kubectl masks the credentials in this log. Nothing else of it is used.
    log = kubectl.read_or_empty(cluster, "get", "--raw", "/version", "-v=8")
    after = time()
    found = DATE_PATTERN.search(log)
    if not found:
        raise OperationError("the API server's response has no date, or kubectl doesn't show it")
    seconds = parsedate_to_datetime(found.group(1)).timestamp() + 0.5
    return ClockOffset(seconds - (before + after) / 2, 0.5 + (after - before) / 2)


def _objects(cluster: KubernetesSettings, selectors: Mapping[str, str]) -> list[Object]:
    return [one for kinds, selector in selectors.items() for one in _listed(cluster, kinds, "--selector", selector)]


def _probe_warnings(cluster: KubernetesSettings) -> dict[str, str]:
    """Map pods to the newest message about a failed probe; empty if the events can't be read."""
    selected = ("--field-selector", "type=Warning,reason=Unhealthy", "--sort-by", ".metadata.creationTimestamp")
    try:
        events = _listed(cluster, "events", *selected)
    except OperationError:
        return {}
    return {one["involvedObject"]["name"]: str(one.get("message", "")) for one in events}


def _listed(cluster: KubernetesSettings, kinds: str, *options: str) -> list[Object]:
    try:
        listed: list[Object] = json.loads(kubectl.read(cluster, "get", kinds, *options, "--output", "json"))["items"]
    except kubectl.KubectlError as error:
        raise OperationError(f"'kubectl get {kinds}' failed:\n  {error}") from None
    return listed


def _workload(one: Object) -> str:
    """Return the workload that an object belongs to."""
    labels = one["metadata"].get("labels", {})
    return str(labels.get(CLUSTER_LABEL) or labels.get(NAME_LABEL) or one["metadata"]["name"])

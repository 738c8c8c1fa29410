"""Why a rollout makes no progress, from what the cluster reports about its pods and claims.

Reasons are those of the cluster (`ImagePullBackOff`, `OOMKilled`, `Unschedulable`, ...).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backends.kubernetes import claims

Object = Mapping[str, Any]

TOLERATED_S = 20.0
"""Seconds that a failed pull, a missing Secret or a refused pod may last: a registry may respond late, or a Secret may
be created meanwhile."""

CRASH_LOOP_RESTARTS = 3
"""Restarts after which a container counts as crash-looping. If it starts before its store, it may exit once or
twice."""

UNBOUND_CLAIM = "unbound immediate PersistentVolumeClaims"
"""The scheduler's message for a pod whose claim is new."""

CRASH_LOOP = "CrashLoopBackOff"
PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError", "ErrImageNeverPull"}
CONFIGURATION_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


@dataclass(frozen=True)
class Problem:
    """A reason why a pod isn't ready."""

    subject: str
    """For instance `pod redis-0, container redis`."""

    kind: str
    """Kind of the problem. Alternating reasons, such as ErrImagePull and ImagePullBackOff, have the same kind."""

    reason: str
    message: str
    tolerated_s: float | None = None
    """Seconds for which the problem may last before the rollout counts as failed; None: until the rollout's timeout."""

    is_expected: bool = False
    """Whether the problem is normal during a start, such as storage being provisioned. It is only reported after a
    timeout."""

    @property
    def key(self) -> tuple[str, str]:
        """Key of the problem, which stays the same while it lasts."""
        return self.subject, self.kind

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason}" + (f": {self.message}" if self.message else "")


def pod_problems(pod: Object, restarts_before: Mapping[str, int]) -> Iterator[Problem]:
    """Yield the problems of a pod.

    Args:
        pod: the object.
        restarts_before: restarts of its containers before the update began to wait.
    """
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            # A cluster autoscaler may be adding a node, or a volume is being provisioned.
            message = condition.get("message", "")
            yield Problem(f"pod {name}", "scheduling", "Unschedulable", message, is_expected=UNBOUND_CLAIM in message)
    for container in statuses(pod):
        if not container.get("ready") and status.get("phase") != "Succeeded":
            subject = f"pod {name}, container {container['name']}"
            yield from _container_problems(subject, pod, container, restarts_before.get(container["name"], 0))


def never_started(pod: Object) -> bool:
    """Return whether no container of a pod has ever run, for a permanent reason: deleting the pod loses nothing.

    Its init containers may have completed.
    """
    found = pod.get("status", {}).get("containerStatuses", [])
    if any(not one.get("state", {}).keys() <= {"waiting"} or one.get("lastState") for one in found):
        return False
    kinds = {problem.kind for problem in pod_problems(pod, {}) if not problem.is_expected}
    return bool(kinds & {"image", "configuration", "scheduling"})


def claim_problems(claim: Object) -> Iterator[Problem]:
    """Yield the problems of a claim that a pending pod waits for."""
    name, spec = claim["metadata"]["name"], claim["spec"]
    if claim.get("status", {}).get("phase") == "Bound" or spec.get("volumeName"):
        return
    subject, storage_class = f"claim {name}", spec.get("storageClassName")
    if storage_class == claims.MISSING_CLAIM_CLASS:
        yield Problem(subject, "claim", "missing", claims.missing_claim_message(name), tolerated_s=0)
    elif not storage_class:
        message = f"{claims.NO_DEFAULT_CLASS_PROBLEM} {claims.SET_CLASS_INSTRUCTION}"
        yield Problem(subject, "claim", "no storage class", message, TOLERATED_S)
    else:
        yield Problem(subject, "claim", "Pending", f"its storage class is {storage_class}", is_expected=True)


def restarts(pod: Object) -> dict[str, int]:
    """Return how often each container of a pod was restarted."""
    return {one["name"]: one.get("restartCount", 0) for one in statuses(pod)}


def statuses(pod: Object) -> list[Object]:
    """Return the status of each container, init containers first."""
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def last_lines(container: Object) -> str:
    """Return how a container last exited, with its last log lines."""
    ended = _last_termination(container)
    if not ended:
        return ""
    lines, reason = str(ended.get("message", "")).strip(), ended.get("reason", "Error")
    named = f"exit code {ended.get('exitCode')}" + (f" ({reason})" if reason not in ("Error", "Completed") else "")
    return named + (f". Its last lines:\n{lines}" if lines else "")


def _container_problems(subject: str, pod: Object, container: Object, restarts_before: int) -> Iterator[Problem]:
    waiting = container.get("state", {}).get("waiting", {})
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason == "InvalidImageName":
        yield Problem(subject, "image", reason, message, tolerated_s=0)
    elif reason in PULL_REASONS:
        yield Problem(subject, "image", reason, message, TOLERATED_S)
    elif reason in CONFIGURATION_REASONS:
        yield Problem(subject, "configuration", reason, message, TOLERATED_S)
    elif ended := _last_termination(container):
        count, is_running = container.get("restartCount", 0), "running" in container["state"]
        is_loop = count >= CRASH_LOOP_RESTARTS and count > restarts_before and not is_running
        # The kubelet reports the back-off a moment after the exit.
        shown = "OOMKilled" if ended.get("reason") == "OOMKilled" else reason or (CRASH_LOOP if is_loop else "ended")
        text = f"{_memory_limit(pod, container['name'])}{last_lines(container)}" if shown == "OOMKilled" else ""
        yield Problem(subject, "crash", shown, text or last_lines(container), 0 if is_loop else None)


def _last_termination(container: Object) -> Object:
    """Return the last termination of a container that the kubelet reports."""
    found: Object = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated", {})
    return found


def _memory_limit(pod: Object, name: str) -> str:
    for one in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
        if one["name"] == name and (limit := one.get("resources", {}).get("limits", {}).get("memory")):
            return f"it used all of its {limit} of memory; "
    return ""

"""Progress of a rollout: the pods of the newest revision, and whether all of them are ready."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from backends.kubernetes.postgres_cluster import CLUSTER_LABEL, KIND
from backends.kubernetes.problems import (
    TOLERATED_S,
    Object,
    Problem,
    claim_problems,
    last_lines,
    never_started,
    pod_problems,
    restarts,
    statuses,
)

REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
GENERATION_KINDS = ("Deployment", "StatefulSet")
"""Kinds that report the observed generation."""

POSTGRES_CONTAINER = "postgres"
HEALTHY_PHASE = "Cluster in healthy state"
STUCK_PHASES = {
    "Cluster cannot execute instance online upgrade due to missing architecture binary",
    "Cluster cannot proceed to reconciliation due to an error while interacting with plugins",
    "Cluster cannot proceed to reconciliation due to an unknown plugin being required",
    "Cluster has incomplete or invalid image catalog",
    "Cluster is unrecoverable and needs manual intervention",
    "Invalid cluster definition",
    "Unable to create required cluster objects",
    "Waiting for user action",
}
"""Phases that CloudNativePG 1.30 doesn't leave by itself (api/v1/cluster_types.go of its repository)."""


@dataclass(frozen=True)
class Rollout:
    """State of a Deployment, a StatefulSet, a Job or a PostgreSQL cluster at one moment."""

    is_done: bool = False
    failure: str = ""
    """Why a Job has failed."""

    summary: str = "the controller hasn't observed it yet"
    """For instance `1 of 2 replicas ready`."""

    pods: list[Object] = field(default_factory=list)
    """Pods of the newest revision."""

    claims: list[Object] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """Problems of the controller itself."""

    never_started_pods: list[Object] = field(default_factory=list)
    """Pods that have never started and can't start, and that their operator doesn't replace (cloudnative-pg#3541)."""

    controller_missing_pods: tuple[str, str] | None = None
    """Kind and name of the controller that should have created pods, but hasn't."""

    @property
    def is_pulling(self) -> bool:
        """Return whether a pod is scheduled, has its volumes, and waits for its image."""
        return any(_is_pulling(pod) for pod in self.pods)

    @property
    def running_pods(self) -> set[str]:
        """Return the names of pods with a running container."""
        return {pod["metadata"]["name"] for pod in self.pods if any("running" in state for state in _states(pod))}

    def all_problems(self, restarts_before: Mapping[str, Mapping[str, int]]) -> Iterator[Problem]:
        """Yield the problems of the controller, its pods and the claims that these wait for.

        Args:
            restarts_before: result of `restarts` when the update began to wait.
        """
        yield from self.problems
        for pod in self.pods:
            yield from pod_problems(pod, restarts_before.get(pod["metadata"]["uid"], {}))
        if any(pod.get("status", {}).get("phase") == "Pending" for pod in self.pods):
            for claim in self.claims:
                yield from claim_problems(claim)

    def restarts(self) -> dict[str, dict[str, int]]:
        """Map each pod's UID to the number of restarts of each of its containers."""
        return {pod["metadata"]["uid"]: restarts(pod) for pod in self.pods}


def rollout(kind: str, name: str, uid: str | None, objects: Iterable[Object]) -> Rollout | None:
    """Return the progress of a controller's rollout; None if the controller doesn't exist."""
    listed = list(objects)
    for one in listed:
        if one["kind"] == kind and one["metadata"]["name"] == name and uid in (None, one["metadata"]["uid"]):
            generation = one["metadata"].get("generation", 0)
            # A Job has no observed generation, and its pods never change. CloudNativePG doesn't report one either.
            if kind in GENERATION_KINDS and one.get("status", {}).get("observedGeneration", 0) < generation:
                return Rollout()
            read = {
                "Deployment": _deployment_rollout,
                "StatefulSet": _stateful_set_rollout,
                "Job": _job_rollout,
                KIND: _postgres_cluster_rollout,
            }
            return read[kind](one, listed)
    return None


def _deployment_rollout(deployment: Object, objects: list[Object]) -> Rollout:
    wanted, status = deployment["spec"].get("replicas", 1), deployment["status"]
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    revision = deployment["metadata"].get("annotations", {}).get(REVISION_ANNOTATION)
    newest = [
        found
        for found in _owned_objects(deployment, objects, "ReplicaSet")
        if found["metadata"].get("annotations", {}).get(REVISION_ANNOTATION) == revision
    ]
    pods = [pod for found in newest for pod in _owned_objects(found, objects, "Pod")]
    return Rollout(
        is_done=updated >= wanted and status.get("replicas", 0) <= updated and available >= wanted,
        summary=f"{min(updated, sum(map(_is_ready, pods)))} of {wanted} replicas ready",
        pods=_without_terminating(pods),
        problems=[problem for found in newest for problem in _refusal_problems(found)],
        controller_missing_pods=next(
            (("ReplicaSet", found["metadata"]["name"]) for found in newest if [*_refusal_problems(found)]), None
        ),
    )


def _stateful_set_rollout(stateful_set: Object, objects: list[Object]) -> Rollout:
    wanted, status = stateful_set["spec"].get("replicas", 1), stateful_set["status"]
    revision, ready = status.get("updateRevision"), status.get("readyReplicas", 0)
    pods = _owned_objects(stateful_set, objects, "Pod")
    newest = [pod for pod in pods if pod["metadata"]["labels"].get("controller-revision-hash") == revision]
    own = {
        volume["persistentVolumeClaim"]["claimName"]
        for pod in newest
        for volume in pod["spec"].get("volumes", [])
        if "persistentVolumeClaim" in volume
    }
    return Rollout(
        is_done=ready >= wanted
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("currentRevision") == revision,
        summary=f"{sum(map(_is_ready, _without_terminating(newest)))} of {wanted} replicas ready",
        pods=_without_terminating(newest),
        problems=[_terminating_problem(pod) for pod in pods if "deletionTimestamp" in pod["metadata"]],
        claims=[
            found for found in objects if found["kind"] == "PersistentVolumeClaim" and found["metadata"]["name"] in own
        ],
        controller_missing_pods=("StatefulSet", stateful_set["metadata"]["name"]) if len(pods) < wanted else None,
    )


def _job_rollout(job: Object, objects: list[Object]) -> Rollout:
    pods = _owned_objects(job, objects, "Pod")
    conditions = {
        condition["type"]: condition
        for condition in job.get("status", {}).get("conditions", [])
        if condition["status"] == "True"
    }
    failure = ""
    if ended := conditions.get("Failed") or conditions.get("FailureTarget"):
        failure = "\n".join([f"{ended.get('reason')}: {ended.get('message')}", *_last_attempt(pods)])
    return Rollout(
        is_done="Complete" in conditions,
        failure=failure,
        summary=f"{sum(pod.get('status', {}).get('phase') == 'Failed' for pod in pods)} attempts failed",
        pods=[pod for pod in _without_terminating(pods) if pod.get("status", {}).get("phase") != "Failed"],
        controller_missing_pods=None if pods else ("Job", job["metadata"]["name"]),
    )


def _postgres_cluster_rollout(cluster: Object, objects: list[Object]) -> Rollout:
    name, wanted = cluster["metadata"]["name"], cluster["spec"]["instances"]
    status, image = cluster.get("status", {}), cluster["spec"]["imageName"]
    phase = status.get("phase", "")
    own = [found for found in objects if found["metadata"].get("labels", {}).get(CLUSTER_LABEL) == name]
    pods = _without_terminating([found for found in own if found["kind"] == "Pod"])
    servers = [pod for pod in pods if POSTGRES_CONTAINER in _images(pod)]
    newest = [pod for pod in servers if _images(pod)[POSTGRES_CONTAINER] == image]
    ready = sum(map(_is_ready, newest))
    problems = [Problem(f"Cluster {name}", "phase", phase, status.get("phaseReason", ""), TOLERATED_S)]
    return Rollout(
        is_done=phase == HEALTHY_PHASE and ready >= wanted and len(newest) == len(servers),
        summary=f"{ready} of {wanted} servers ready" + (f": {phase}" if phase else ""),
        # The pods include those of Jobs, which create the data directories.
        pods=[pod for pod in pods if pod not in servers or pod in newest],
        never_started_pods=[pod for pod in servers if never_started(pod)],
        claims=[found for found in own if found["kind"] == "PersistentVolumeClaim"],
        problems=problems if phase in STUCK_PHASES else [],
    )


def _images(pod: Object) -> dict[str, str]:
    """Return the image of each container."""
    return {one["name"]: one["image"] for one in pod["spec"]["containers"]}


def _last_attempt(pods: list[Object]) -> Iterator[str]:
    """Yield how the newest pod of a Job terminated."""
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))[-1:]:
        for container in statuses(pod):
            yield f"pod {pod['metadata']['name']}: {last_lines(container)}"


def _owned_objects(owner: Object, objects: list[Object], kind: str) -> list[Object]:
    uid = owner["metadata"]["uid"]
    return [
        one
        for one in objects
        if one["kind"] == kind and uid in {found["uid"] for found in one["metadata"].get("ownerReferences", [])}
    ]


def _without_terminating(pods: list[Object]) -> list[Object]:
    """Return the pods that aren't being deleted."""
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def _terminating_problem(pod: Object) -> Problem:
    """Return the problem that a pod is still terminating: its successor has the same name, so it can't start."""
    finalizers = ", ".join(pod["metadata"].get("finalizers", []))
    message = (
        f"kept by its finalizers ({finalizers})" if finalizers else "it hasn't terminated, or its node doesn't respond"
    )
    return Problem(f"pod {pod['metadata']['name']}", "deletion", "Terminating", message, is_expected=True)


def _is_ready(pod: Object) -> bool:
    return _condition(pod, "Ready")


def _is_pulling(pod: Object) -> bool:
    waiting: set[Any] = {state.get("waiting", {}).get("reason") for state in _states(pod)}
    return _condition(pod, "PodReadyToStartContainers") and "ContainerCreating" in waiting


def _states(pod: Object) -> list[Object]:
    return [one.get("state", {}) for one in statuses(pod)]


def _condition(pod: Object, kind: str) -> bool:
    return any(one["type"] == kind and one["status"] == "True" for one in pod.get("status", {}).get("conditions", []))


def _refusal_problems(replica_set: Object) -> Iterator[Problem]:
    """Yield why the API server refuses a ReplicaSet's pods, such as a quota or a policy."""
    for condition in replica_set.get("status", {}).get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            subject = f"ReplicaSet {replica_set['metadata']['name']}"
            yield refusal_problem(subject, condition.get("reason", ""), condition.get("message", ""))


def refusal_problem(subject: str, reason: str, message: str) -> Problem:
    """Return the problem that the API server refuses a controller's pods. It doesn't resolve by itself."""
    return Problem(subject, "refused", reason, message, TOLERATED_S)

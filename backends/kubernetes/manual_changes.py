"""Manual changes that a comparison with the state doesn't find or that no controller corrects, and their repair.

- A field that the program doesn't set, such as another rule in a NetworkPolicy or another label in the selector of a
  Service: the provider only compares the fields of its inputs (pulumi/pulumi-kubernetes#3262). If the object also lacks
  a label of the program, the update applies it. The provider then takes over the fields of kubectl, and removes those
  that the program doesn't set.
- A StatefulSet's pod without its labels: the StatefulSet can't adopt it, and can't create another one with that name.
- A controller that couldn't create a pod: it tries again after up to 16 minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backends.kubernetes import labels
from backends.kubernetes.problems import Object
from backends.kubernetes.rollout_status import rollout

KINDS = (
    "deployments,replicasets,statefulsets,cronjobs,pods,services,networkpolicies,serviceaccounts,roles,rolebindings,"
    "ingresses,horizontalpodautoscalers,poddisruptionbudgets"
)
"""Kinds to list. ConfigMaps and Secrets are immutable, and the provider compares a claim's only changeable field."""

CONTROLLER_KINDS = ("Deployment", "StatefulSet")
MANUAL_MANAGER_PREFIX = "kubectl"
"""Prefix of the managers whose fields the provider takes over with an update."""

RETRIGGER_ANNOTATION = "pti-calendar/woken"
RESTART_FIELD = "kubectl.kubernetes.io/restartedAt"
"""Field that `kubectl rollout restart` sets. There is nothing to restore."""


@dataclass(frozen=True)
class Repair:
    """One manual change and the kubectl commands that make the controllers or the next update correct it."""

    message: str
    commands: tuple[tuple[str, ...], ...]


def repairs(objects: Iterable[Object], instance: str) -> Iterator[Repair]:
    """Yield the repairs of a stack's objects, which kubectl has listed with their managed fields.

    Args:
        objects: the objects of the namespace.
        instance: the stack's value of the label `INSTANCE_LABEL`.
    """
    listed = list(objects)
    for one in listed:
        kind, name = one["kind"], one["metadata"]["name"]
        if one["metadata"].get("labels", {}).get(labels.INSTANCE_LABEL) != instance:
            continue
        if fields := _manual_fields(one):
            yield Repair(
                f"{kind} {name} was changed by hand ({', '.join(fields)}); the update restores it",
                (("label", f"{kind.lower()}/{name}", f"{labels.MANAGED_BY_LABEL}-"),),
            )
        if kind in CONTROLLER_KINDS:
            yield from _pod_repairs(one, listed)


def _pod_repairs(controller: Object, objects: list[Object]) -> Iterator[Repair]:
    kind, name = controller["kind"], controller["metadata"]["name"]
    if kind == "StatefulSet" and (stray := [*_stray_pods(controller, objects)]):
        selected = [f"{key}={value}" for key, value in sorted(controller["spec"]["selector"]["matchLabels"].items())]
        for pod in stray:
            yield Repair(
                f"Pod {pod} has lost its labels, so that {kind} {name} ignores it; it gets them back",
                (("label", f"pod/{pod}", "--overwrite", *selected),),
            )
        return
    state = rollout(kind, name, None, objects)
    if state and not state.is_done and state.controller_missing_pods:
        kind, name = state.controller_missing_pods
        yield Repair(f"{kind} {name} lacks a pod; it tries again to create it", retrigger_commands(kind, name))


def retrigger_commands(kind: str, name: str) -> tuple[tuple[str, ...], ...]:
    """Return the kubectl commands that make a controller check its pods now: a change of its object ends the back-off
    that follows a failure."""
    target = f"{kind.lower()}/{name}"
    return tuple(
        ("annotate", target, "--overwrite", annotation)
        for annotation in (f"{RETRIGGER_ANNOTATION}=true", f"{RETRIGGER_ANNOTATION}-")
    )


def _stray_pods(stateful_set: Object, objects: list[Object]) -> Iterator[str]:
    """Yield the pods that have a StatefulSet's names but not the labels that it selects."""
    selected = stateful_set["spec"]["selector"]["matchLabels"].items()
    name = stateful_set["metadata"]["name"]
    names = {f"{name}-{ordinal}" for ordinal in range(stateful_set["spec"].get("replicas", 1))}
    for one in objects:
        metadata = one["metadata"]
        if one["kind"] == "Pod" and metadata["name"] in names and not selected <= metadata.get("labels", {}).items():
            yield metadata["name"]


def _manual_fields(one: Object) -> list[str]:
    """Return the paths of the fields below `spec` and the like that were last set by kubectl."""
    return sorted(
        {
            path
            for entry in one["metadata"].get("managedFields", [])
            if str(entry.get("manager")).startswith(MANUAL_MANAGER_PREFIX) and not entry.get("subresource")
            for section, fields in entry.get("fieldsV1", {}).items()
            if section not in ("f:metadata", "f:status")
            for path in [_path(section, fields)]
            if not path.endswith(RESTART_FIELD)
        }
    )


def _path(field: str, fields: Mapping[str, Any]) -> str:
    """Return the path from the field to the first one with several subfields."""
    name = field.removeprefix("f:")
    below = [key for key in fields if key != "."]
    if len(below) != 1 or not below[0].startswith("f:"):
        return name
    return f"{name}.{_path(below[0], fields[below[0]])}"

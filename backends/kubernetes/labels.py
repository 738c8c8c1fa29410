"""Labels of objects and pods."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from workloads import Endpoint, ScheduledTask, Service, StatefulService, Task, Workload

PLATFORM = "pti-calendar"
NAME_LABEL = "app.kubernetes.io/name"
PART_OF_LABEL = "app.kubernetes.io/part-of"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
INSTANCE_LABEL = "app.kubernetes.io/instance"
"""Label with the stack's name. Only on objects: a controller's selector and a claim template can never change."""

COMPONENTS: Mapping[type[Workload], str] = {
    Service: "service",
    StatefulService: "stateful",
    Task: "task",
    ScheduledTask: "scheduled-task",
}
"""Maps each kind of workload to the value of the label `app.kubernetes.io/component`."""

MAX_VALUE_LENGTH = 63
"""Maximum number of characters in a label value."""


def selector(workload: str) -> dict[str, str]:
    """Return the labels that select a workload's pods. Never change them: a controller's selector is immutable."""
    return {NAME_LABEL: workload, PART_OF_LABEL: PLATFORM}


def platform_labels() -> dict[str, str]:
    """Return the labels of every object."""
    return {PART_OF_LABEL: PLATFORM, MANAGED_BY_LABEL: "pulumi"}


def instance(stack: str) -> str:
    """Return the value of `INSTANCE_LABEL` for a stack."""
    whole = f"{PLATFORM}-{stack}"
    if len(whole) <= MAX_VALUE_LENGTH and whole[-1].isalnum():
        return whole
    return f"{whole[: MAX_VALUE_LENGTH - 9]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def lacks_instance(found: Mapping[str, str]) -> bool:
    """Return whether an object is from a release without the stack's label."""
    return INSTANCE_LABEL not in found and platform_labels().items() <= found.items()


def labels_for(workload: Workload) -> dict[str, str]:
    """Return the labels of every object of a workload."""
    return workload_labels(workload.name, COMPONENTS[type(workload)])


def workload_labels(workload: str, component: str) -> dict[str, str]:
    """Return the labels of an object of a workload or a store, which is a component of the platform."""
    return {**platform_labels(), NAME_LABEL: workload, "app.kubernetes.io/component": component}


def connection_label(endpoint: Endpoint) -> dict[str, str]:
    """Return the label of pods that may connect to an endpoint.

    The endpoint's policy admits pods with this label, so that only the client declares the connection.
    """
    return {f"calls.{PLATFORM}/{endpoint.workload}-{endpoint.port}": "true"}

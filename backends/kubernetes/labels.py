"""The labels by which objects find pods, and people find objects."""

from __future__ import annotations

from workloads import Endpoint

PLATFORM = "pti-calendar"
NAME = "app.kubernetes.io/name"
PART_OF = "app.kubernetes.io/part-of"


def selector(workload: str) -> dict[str, str]:
    """What the pods of a workload carry and no others. A controller's selector can never be changed: keep it."""
    return {NAME: workload, PART_OF: PLATFORM}


def platform() -> dict[str, str]:
    """The labels of every object."""
    return {PART_OF: PLATFORM, "app.kubernetes.io/managed-by": "pulumi"}


def labels(workload: str, component: str) -> dict[str, str]:
    """The labels of every object that belongs to a workload."""
    return {**platform(), NAME: workload, "app.kubernetes.io/component": component}


def calls(endpoint: Endpoint) -> dict[str, str]:
    """What a pod carries that may call an endpoint.

    The called workload admits whoever has it, so that who calls whom is said once, by the caller.
    """
    return {f"calls.{PLATFORM}/{endpoint.workload}-{endpoint.port}": "true"}

"""The labels by which objects find pods, and people find objects."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from workloads import Endpoint

PLATFORM = "pti-calendar"
NAME = "app.kubernetes.io/name"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"
INSTANCE = "app.kubernetes.io/instance"
"""The stack. On objects alone: a controller's selector and a claim's template can never change."""

LONGEST = 63
"""Characters of a label's value."""


def selector(workload: str) -> dict[str, str]:
    """What the pods of a workload carry and no others. A controller's selector can never be changed: keep it."""
    return {NAME: workload, PART_OF: PLATFORM}


def platform() -> dict[str, str]:
    """The labels of every object."""
    return {PART_OF: PLATFORM, MANAGED_BY: "pulumi"}


def instance(stack: str) -> str:
    """The value of `INSTANCE` for a stack."""
    whole = f"{PLATFORM}-{stack}"
    if len(whole) <= LONGEST and whole[-1].isalnum():
        return whole
    return f"{whole[: LONGEST - 9]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def is_unnamed(found: Mapping[str, str]) -> bool:
    """Whether an object is of a release that didn't name the stack."""
    return INSTANCE not in found and platform().items() <= found.items()


def labels(workload: str, component: str) -> dict[str, str]:
    """The labels of every object that belongs to a workload."""
    return {**platform(), NAME: workload, "app.kubernetes.io/component": component}


def calls(endpoint: Endpoint) -> dict[str, str]:
    """What a pod carries that may call an endpoint.

    The called workload admits whoever has it, so that who calls whom is said once, by the caller.
    """
    return {f"calls.{PLATFORM}/{endpoint.workload}-{endpoint.port}": "true"}

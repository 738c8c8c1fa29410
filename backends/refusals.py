"""Refuses what a backend doesn't offer, with the reasons of the table in `capabilities`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from capabilities import Capability, missing_reason
from workloads import Endpoint, LongRunning, Service, Workload, WorkloadError

Part = TypeVar("Part")


def refuse_unsupported(workload: Workload, kind: str) -> None:
    """Raise `WorkloadError` if a workload needs a capability that the backend of this kind doesn't offer."""
    for capability, what in _required_capabilities(workload):
        _refuse(f"workload {workload.name!r}: {what}", kind, capability)


def require_part(offered: Part | None, what: str, kind: str, capability: Capability) -> Part:
    """Return an optional part of a backend.

    Raises:
        WorkloadError: the backend has none.
    """
    if offered is None:
        _refuse(what, kind, capability)
        raise WorkloadError(f"{what} is not supported, although backend {kind!r} offers it in its capabilities")
    return offered


def _refuse(what: str, kind: str, capability: Capability) -> None:
    if missing := missing_reason(kind, capability):
        raise WorkloadError(f"{what} is not supported {missing}")


def _required_capabilities(workload: Workload) -> Iterator[tuple[Capability, str]]:
    """Yield each capability that a workload needs, with the description of the field that needs it."""
    if isinstance(workload, Service) and workload.autoscaling:
        yield Capability.AUTOSCALING, "autoscaling"
    if isinstance(workload, Service) and workload.load_balancer:
        yield Capability.LOAD_BALANCERS, "a load balancer with options"
    if isinstance(workload, LongRunning) and workload.replicas != 1:
        yield Capability.REPLICAS, f"replicas={workload.replicas}"
    if workload.host_gateway:
        yield Capability.HOST_GATEWAY, "a connection to the host"
    if workload.reads_node_metrics:
        yield Capability.NODE_METRICS, "reading the nodes' metrics"
    if workload.reads_deployed_objects:
        yield Capability.DEPLOYED_OBJECTS, "reading the deployed objects"
    for file_set in workload.file_sets:
        if file_set.external_secret is not None:
            what = f"the external secret {file_set.external_secret!r} as file set {file_set.name!r}"
            yield Capability.EXTERNAL_SECRETS, what
    for call in workload.connects_to:
        if isinstance(call, Endpoint) and call.host != call.workload:
            yield Capability.HOST_ALIASES, f"connecting to {call.workload!r} as {call.host!r}"

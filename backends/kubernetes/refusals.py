"""What a workload may ask of a laptop and not of a cluster, and what a cluster alone needs to know."""

from __future__ import annotations

from workloads import Workload, WorkloadError


def refuse_what_kubernetes_lacks(workload: Workload) -> None:
    """Raises `WorkloadError` on what no cluster gives, with the way to do without it."""
    who = f"workload {workload.name!r}"
    if workload.calls_host:
        raise WorkloadError(
            f"{who} calls the machine it runs on, and a cluster has no such machine; for this stack, let it run "
            "beside what it calls"
        )
    for port in workload.ports:
        if port.public and port.publish is None:
            raise WorkloadError(f"{who}: the public port {port.name!r} needs the number users reach it at (publish)")
    if workload.cpus is not None and workload.cpu_request > workload.cpus:
        raise WorkloadError(f"{who} is promised {workload.cpu_request} cores and limited to {workload.cpus}")

"""Refuses what Kubernetes doesn't support, or needs in addition.

`settings/consistency.py` refuses the same in the configuration.
"""

from __future__ import annotations

from workloads import Workload, WorkloadError


def refuse_what_kubernetes_lacks(workload: Workload) -> None:
    """Raise `WorkloadError` if a workload needs what Kubernetes doesn't support; the message says how to do without."""
    who = f"workload {workload.name!r}"
    if workload.calls_host:
        raise WorkloadError(
            f"{who} connects to the host that it runs on, which isn't supported on Kubernetes; run what it connects "
            "to in the cluster"
        )
    for port in workload.ports:
        if port.public and port.publish is None:
            raise WorkloadError(
                f"{who}: the public port {port.name!r} needs the port number that users connect to (publish)"
            )
    if workload.cpus is not None and workload.cpu_request > workload.cpus:
        raise WorkloadError(f"{who} requests {workload.cpu_request} cores, more than its limit of {workload.cpus}")

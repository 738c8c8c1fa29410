"""Refuses what Docker doesn't support, and Kubernetes does.

`settings/consistency.py` refuses the same in the configuration.
"""

from __future__ import annotations

from workloads import Endpoint, Workload, WorkloadError


def refuse_what_docker_lacks(workload: Workload) -> None:
    """Raise `WorkloadError` if a workload needs what Docker doesn't support; the message says how to do without."""

    def refuse(reason: str) -> None:
        raise WorkloadError(f"workload {workload.name!r}: {reason}")

    if workload.autoscaling:
        refuse("Docker runs 1 replica and has no autoscaler; remove autoscaling for this stack")
    if workload.replicas != 1:
        refuse(f"Docker runs 1 replica, not {workload.replicas}; set replicas to 1 for this stack")
    if workload.reads_kubelets:
        refuse(
            "reads the kubelets' metrics, but Docker has no kubelets: "
            "pulumi config set --path 'pti-calendar:monitoring.prometheus.kubelets' false"
        )
    if workload.reads_namespace:
        refuse("watches the objects of a namespace, but Docker has no namespaces; remove it from this stack")
    for file_set in workload.file_sets:
        if file_set.existing_secret is not None:
            refuse(
                f"file set {file_set.name!r} is the Kubernetes Secret {file_set.existing_secret!r}, which "
                "doesn't exist on Docker; set its files for this stack"
            )
    for call in workload.calls:
        if isinstance(call, Endpoint) and call.host != call.workload:
            refuse(
                f"calls {call.workload!r} as {call.host!r}; on Docker a workload has no other name than its own: "
                "remove the alias for this stack"
            )

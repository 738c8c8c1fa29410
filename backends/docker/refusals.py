"""What a workload may ask of a cluster and not of one Docker engine."""

from __future__ import annotations

from workloads import Endpoint, Workload, WorkloadError


def refuse_what_docker_lacks(workload: Workload) -> None:
    """Raises `WorkloadError` on what no Docker engine gives, with the way to do without it."""

    def refuse(reason: str) -> None:
        raise WorkloadError(f"workload {workload.name!r}: {reason}")

    if workload.autoscaling:
        refuse("one Docker engine runs 1 replica and scales nothing; leave autoscaling out for this stack")
    if workload.replicas != 1:
        refuse(f"one Docker engine runs 1 replica, not {workload.replicas}; set replicas to 1 for this stack")
    if workload.reads_kubelets:
        refuse(
            "reads the kubelets' metrics, and a Docker engine has no kubelet: "
            "pulumi config set --path 'pti-calendar:monitoring.prometheus.kubelets' false"
        )
    if workload.reads_namespace:
        refuse("watches the objects of a namespace, and a Docker engine has none; leave it out for this stack")
    for file_set in workload.file_sets:
        if file_set.existing_secret is not None:
            refuse(
                f"file set {file_set.name!r} is the Kubernetes Secret {file_set.existing_secret!r}, which no "
                "Docker engine has; give its files for this stack"
            )
    for call in workload.calls:
        if isinstance(call, Endpoint) and call.host != call.workload:
            refuse(
                f"calls {call.workload!r} as {call.host!r}; on Docker a workload answers to its own name alone: "
                "leave the alias out for this stack"
            )

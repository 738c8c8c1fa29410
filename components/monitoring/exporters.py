"""Exporters of nginx, the Docker host and the objects of a cluster. A store's module contains its own exporter."""

from __future__ import annotations

from components.exporter import NOBODY_UID, exporter
from workloads import Endpoint, Workload

KUBE_STATE_SERIES = {
    "pods": (
        "kube_pod_labels",
        "kube_pod_status_phase",
        "kube_pod_status_reason",
        "kube_pod_status_unschedulable",
        "kube_pod_container_status_waiting_reason",
        "kube_pod_container_status_last_terminated_reason",
        "kube_pod_container_status_restarts_total",
    ),
    "deployments": ("kube_deployment_spec_replicas", "kube_deployment_status_replicas_available"),
    "statefulsets": ("kube_statefulset_replicas", "kube_statefulset_status_replicas_ready"),
    "jobs": ("kube_job_labels", "kube_job_failed"),
    "persistentvolumeclaims": ("kube_persistentvolumeclaim_status_phase",),
    "horizontalpodautoscalers": (
        "kube_horizontalpodautoscaler_spec_min_replicas",
        "kube_horizontalpodautoscaler_spec_max_replicas",
        "kube_horizontalpodautoscaler_status_current_replicas",
        "kube_horizontalpodautoscaler_status_condition",
    ),
}
"""Maps resources to the series that `assets/prometheus/rules/kubernetes.yml` reads."""

WORKLOAD_LABELS = "app.kubernetes.io/name,cnpg.io/cluster"
"""Labels that name the workload of a Pod or Job: the platform's own, and CloudNativePG's."""


def nginx_exporter(image: str, status: Endpoint) -> Workload:
    """Return the exporter of nginx. Its image has no tool for a health check on Docker."""
    return exporter(
        "nginx",
        image=image,
        user=1001,
        port=9113,
        arguments=(f"--nginx.scrape-uri=http://{status}/stub_status",),
        has_probes=False,
        connects_to=(status,),
    )


def node_exporter(image: str) -> Workload:
    """Return the exporter of the Docker host.

    It needs no host mounts: every container sees the machine's processors and memory, and the engine mounts one of its
    own files into each from the disk that contains all volumes.
    """
    collectors = ("cpu", "meminfo", "loadavg", "filesystem", "diskstats", "vmstat")
    return exporter(
        "node",
        image=image,
        user=NOBODY_UID,
        port=9100,
        arguments=(
            "--collector.disable-defaults",
            *(f"--collector.{name}" for name in collectors),
            "--collector.filesystem.mount-points-include=^/etc/hosts$",
            # The kernel counts processes killed for lack of memory, including those at their container's own limit.
            "--collector.vmstat.fields=^oom_kill$",
        ),
    )


def kube_state_metrics(image: str, namespace: str) -> Workload:
    """Return kube-state-metrics, which exports the state of the objects in the platform's namespace.

    Only the series that the rules read: each pod has about fifty more. Its image only contains the program.
    """
    return exporter(
        "kube-state-metrics",
        name="kube-state-metrics",
        image=image,
        user=NOBODY_UID,
        port=8080,
        arguments=(
            # Listen on every address, even on a node without IPv6.
            "--host=",
            "--telemetry-host=",
            f"--namespaces={namespace}",
            f"--resources={','.join(KUBE_STATE_SERIES)}",
            f"--metric-allowlist={','.join(name for names in KUBE_STATE_SERIES.values() for name in names)}",
            f"--metric-labels-allowlist={','.join(f'{kind}=[{WORKLOAD_LABELS}]' for kind in ('pods', 'jobs'))}",
        ),
        # With the whole prod stack, 56 MiB resident were measured, most of it the program; the heap grows with the
        # number of pods.
        memory_mib=128,
        reads_deployed_objects=True,
    )

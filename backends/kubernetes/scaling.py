"""How many pods there are under load, and how many may be away at a time."""

from __future__ import annotations

from backends.kubernetes import labels
from backends.kubernetes.manifest import Manifest, manifest
from workloads import Autoscaling, Kind, Workload


def autoscaler(workload: Workload, scale: Autoscaling) -> Manifest:
    """A HorizontalPodAutoscaler: doubles within a minute, and goes back by one pod a minute once the load is gone."""
    return manifest(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        name=workload.name,
        labels=labels.labels(workload.name, workload.kind.value),
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload.name},
            "minReplicas": scale.minimum,
            "maxReplicas": scale.maximum,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": scale.cpu_percent},
                    },
                }
            ],
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 60}],
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": 300,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                },
            },
        },
    )


def disruption_budget(workload: Workload) -> Manifest | None:
    """A PodDisruptionBudget: draining a node takes one pod at a time. None where there is only one to take."""
    at_least = workload.autoscaling.minimum if workload.autoscaling else workload.replicas
    if workload.kind is Kind.TASK or at_least == 1:
        return None
    return manifest(
        "policy/v1",
        "PodDisruptionBudget",
        name=workload.name,
        labels=labels.labels(workload.name, workload.kind.value),
        spec={
            "maxUnavailable": 1,
            "selector": {"matchLabels": labels.selector(workload.name)},
            # A pod that isn't ready anyway must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )

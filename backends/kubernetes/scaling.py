"""Autoscaling, and disruption budgets."""

from __future__ import annotations

from backends.kubernetes import labels
from backends.kubernetes.manifest import Manifest, manifest
from workloads import Autoscaling, LongRunning, Workload


def autoscaler(workload: Workload, scale: Autoscaling) -> Manifest:
    """Return a HorizontalPodAutoscaler that at most doubles per minute, and removes one pod per minute after the
    load."""
    return manifest(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        name=workload.name,
        labels=labels.labels_for(workload),
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
    """Return a PodDisruptionBudget, so that a drain evicts one pod at a time; None if there is only one pod."""
    if not isinstance(workload, LongRunning) or workload.min_replicas == 1:
        return None
    return manifest(
        "policy/v1",
        "PodDisruptionBudget",
        name=workload.name,
        labels=labels.labels_for(workload),
        spec={
            "maxUnavailable": 1,
            "selector": {"matchLabels": labels.selector(workload.name)},
            # A pod that isn't ready must not block a drain.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )

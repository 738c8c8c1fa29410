"""The number of replicas."""

from __future__ import annotations

from settings.applications import ScalingSettings
from workloads import Autoscaling


def autoscaling(settings: ScalingSettings | None) -> Autoscaling | None:
    """Return the workload's autoscaling, if it is configured."""
    if settings is None:
        return None
    return Autoscaling(minimum=settings.min_replicas, maximum=settings.max_replicas, cpu_percent=settings.cpu_percent)

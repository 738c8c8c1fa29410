"""The right to watch the namespace's objects, for the one workload that asks for it.

A Role of the namespace, with the kinds that the alerts are about. Secrets and ConfigMaps are not among them.
"""

from __future__ import annotations

from backends.kubernetes import labels
from backends.kubernetes.manifest import Manifest, manifest
from workloads import Workload

GROUP = "rbac.authorization.k8s.io"

KINDS = {
    "": ("persistentvolumeclaims", "pods"),
    "apps": ("deployments", "statefulsets"),
    "autoscaling": ("horizontalpodautoscalers",),
    "batch": ("jobs",),
}
"""API group to resources."""

API_SERVER = (443, 6443)
"""Its ports, by its Service and by its own address. No policy can name its address."""


def rights(workload: Workload) -> list[Manifest]:
    """What its service account may do: list and watch these kinds here, nothing else."""
    name = f"{workload.name}-reader"
    marked = labels.labels(workload.name, workload.kind.value)
    role = manifest(
        f"{GROUP}/v1",
        "Role",
        name=name,
        labels=marked,
        rules=[
            {"apiGroups": [group], "resources": [*resources], "verbs": ["list", "watch"]}
            for group, resources in KINDS.items()
        ],
    )
    binding = manifest(
        f"{GROUP}/v1",
        "RoleBinding",
        name=name,
        labels=marked,
        roleRef={"apiGroup": GROUP, "kind": "Role", "name": name},
        subjects=[{"kind": "ServiceAccount", "name": workload.name}],
    )
    return [role, binding]

"""RBAC to watch the namespace's objects, for the one workload that needs it.

A Role in the namespace with the kinds that the alert rules use. It excludes Secrets and ConfigMaps.
"""

from __future__ import annotations

from backends.kubernetes import labels
from backends.kubernetes.manifest import Manifest, manifest
from workloads import Workload

RBAC_GROUP = "rbac.authorization.k8s.io"

WATCHED_RESOURCES = {
    "": ("persistentvolumeclaims", "pods"),
    "apps": ("deployments", "statefulsets"),
    "autoscaling": ("horizontalpodautoscalers",),
    "batch": ("jobs",),
}
"""Maps API groups to resources."""

API_SERVER_PORTS = (443, 6443)
"""Ports of the API server, through its Service and directly. A network policy can't select its address."""


def namespace_reader_rbac(workload: Workload) -> list[Manifest]:
    """Return the RBAC objects that let a service account list and watch these kinds, nothing else."""
    name = f"{workload.name}-reader"
    object_labels = labels.labels_for(workload)
    role = manifest(
        f"{RBAC_GROUP}/v1",
        "Role",
        name=name,
        labels=object_labels,
        rules=[
            {"apiGroups": [group], "resources": [*resources], "verbs": ["list", "watch"]}
            for group, resources in WATCHED_RESOURCES.items()
        ],
    )
    binding = manifest(
        f"{RBAC_GROUP}/v1",
        "RoleBinding",
        name=name,
        labels=object_labels,
        roleRef={"apiGroup": RBAC_GROUP, "kind": "Role", "name": name},
        subjects=[{"kind": "ServiceAccount", "name": workload.name}],
    )
    return [role, binding]

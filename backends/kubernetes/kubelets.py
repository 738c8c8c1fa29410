"""RBAC to read the kubelets' metrics, for the one workload that needs it.

Nodes belong to the whole cluster, so these are the stack's only objects outside the namespace. Their names contain the
namespace.
"""

from __future__ import annotations

from backends.kubernetes import labels
from backends.kubernetes.manifest import Manifest, manifest
from workloads import Workload

RBAC_GROUP = "rbac.authorization.k8s.io"

KUBELET_PORTS = (443, 6443, 10250)
"""Ports of the API server, through its Service and directly, and of the kubelets. A network policy can't select their
addresses."""


def node_metrics_rbac(workload: Workload, namespace: str) -> list[Manifest]:
    """Return the RBAC objects that let a service account list nodes and read their metrics, nothing else."""
    name = f"{namespace}-{workload.name}-kubelets"
    object_labels = labels.labels_for(workload)
    role = manifest(
        f"{RBAC_GROUP}/v1",
        "ClusterRole",
        name=name,
        labels=object_labels,
        rules=[
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]},
            {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        ],
    )
    binding = manifest(
        f"{RBAC_GROUP}/v1",
        "ClusterRoleBinding",
        name=name,
        labels=object_labels,
        roleRef={"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": name},
        subjects=[{"kind": "ServiceAccount", "name": workload.name, "namespace": namespace}],
    )
    return [role, binding]

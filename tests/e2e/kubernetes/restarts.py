"""Restarts of the platform's containers, as the kubelet counts them."""

from __future__ import annotations

import json

from testbed.cluster import Cluster
from tests.e2e.kubernetes.stack import NAMESPACE


def restarts(cluster: Cluster) -> dict[str, int]:
    """Map each container to its number of restarts, without pods that are being deleted.

    The key contains the pod's UID, because a StatefulSet's new pod has the name of the old one.
    """
    pods = json.loads(cluster.kubectl("get", "pods", f"--namespace={NAMESPACE}", "--output=json"))["items"]
    return {
        f"{pod['metadata']['name']} ({pod['metadata']['uid']}), container {one['name']}": one["restartCount"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        for statuses in ("initContainerStatuses", "containerStatuses")
        for one in pod["status"].get(statuses, [])
    }

"""Restarts of the platform's containers, as the kubelet counts them."""

from __future__ import annotations

import json
from collections.abc import Mapping

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


def restarted_since(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return how often each container was restarted in between; one that is new starts at zero."""
    added = {container: count - before.get(container, 0) for container, count in after.items()}
    return {container: count for container, count in added.items() if count}

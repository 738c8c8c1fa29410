"""A real single-node Kubernetes cluster, for tests on a developer's machine. It runs as root.

Control plane, kubelet, kube-proxy and CoreDNS are built from Go modules; etcd, containerd, runc and the network plugins
come from Debian. No image registry is needed: images come from the local Docker engine. Everything listens on a bridge
of this machine (10.244.0.1) or on loopback. `python -m testbed.cluster` provides the same functions as commands.

If `PTI_TEST_KUBECONFIG` (and `PTI_TEST_CONTEXT`) is set, that cluster is used instead. It must already have the images:
nothing here starts it, loads images or stops it.
"""

from __future__ import annotations

from collections.abc import Iterable

from testbed.cluster import containers, node, volumes
from testbed.cluster.access import Cluster, cluster_from_environment, current_cluster
from testbed.cluster.constants import API_SERVER_VERSIONS
from testbed.cluster.processes import ClusterError

__all__ = [
    "API_SERVER_VERSIONS",
    "Cluster",
    "ClusterError",
    "api_server",
    "down",
    "kubectl",
    "load",
    "recycle_volumes",
    "reset",
    "small_volume",
    "up",
    "why_unavailable",
    "wipe",
]


def why_unavailable() -> str | None:
    """Return why no cluster can run here, for `pytest.skip`, or nothing if one can."""
    try:
        if cluster_from_environment():
            return None
        return node.why_unavailable()
    except ClusterError as error:
        return str(error)


def up(*, network_policies: bool = False) -> Cluster:
    """Return the cluster once its node is ready. Running parts are kept, so a second call takes a second.

    With `network_policies`, policies are enforced between pods until `down`.
    """
    if named := cluster_from_environment():
        return named
    cluster = node.start_node()
    if network_policies:
        node.enforce_network_policies()
    return cluster


def load(images: Iterable[str]) -> list[str]:
    """Load images of the local Docker engine into the node, unless it already has them with the same ID."""
    return [] if cluster_from_environment() else containers.load(images)


def down() -> None:
    """Stop everything that was started here; a later `up` uses the same objects and volumes."""
    if not cluster_from_environment():
        node.stop_node()


def reset() -> None:
    """Stop the cluster and DELETE all objects and volumes. Loaded images stay, so the next `up` has nothing to copy."""
    if not cluster_from_environment():
        node.reset_node()


def wipe() -> None:
    """Stop the cluster and DELETE all objects, volumes and loaded images."""
    if not cluster_from_environment():
        node.wipe_node()


def kubectl(*arguments: str, input: str | None = None) -> str:
    """Run kubectl on the current cluster and return its output; a failure is a `ClusterError`."""
    return current_cluster().kubectl(*arguments, input=input)


def recycle_volumes() -> int:
    """Empty the volumes that no PVC uses any more and release them; return their number."""
    return 0 if cluster_from_environment() else volumes.recycle_volumes(current_cluster())


def small_volume(namespace: str, claim: str) -> None:
    """Reserve a volume of `volumes.SMALL_MIB`, which a test can fill, for a PVC that doesn't exist yet."""
    if not cluster_from_environment():
        volumes.add_small_volume(current_cluster(), namespace, claim)


def api_server(version: str) -> Cluster:
    """Run an API server of another version, without nodes or controllers, for strict validation by dry runs."""
    return node.start_other_api_server(version)

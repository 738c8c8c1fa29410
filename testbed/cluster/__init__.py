"""A real Kubernetes of one node, for tests on a machine of one's own. It runs as root.

Control plane, kubelet, kube-proxy and CoreDNS are built from Go modules; etcd, containerd, runc and the network
plugins come from Debian. No image registry is needed: images come from the local Docker engine. Everything listens on
a bridge of this machine (10.244.0.1) or on loopback. `python -m testbed.cluster` is the same by hand.

With `PTI_TEST_KUBECONFIG` (and `PTI_TEST_CONTEXT`) another cluster takes its place, which has the images already:
then nothing here starts, loads or ends.
"""

from __future__ import annotations

from collections.abc import Iterable

from testbed.cluster import containers, node, volumes
from testbed.cluster.access import Cluster, current, named_by_environment
from testbed.cluster.places import API_SERVER_VERSIONS
from testbed.cluster.processes import ClusterError

__all__ = [
    "API_SERVER_VERSIONS",
    "Cluster",
    "ClusterError",
    "api_server",
    "down",
    "fresh_volumes",
    "kubectl",
    "load",
    "reset",
    "small_volume",
    "unavailable",
    "up",
    "wipe",
]


def unavailable() -> str | None:
    """Why there can't be a cluster here, for `pytest.skip`; nothing when there can."""
    try:
        if named_by_environment():
            return None
        return node.obstacle()
    except ClusterError as error:
        return str(error)


def up(*, network_policies: bool = False) -> Cluster:
    """The cluster, its node ready. What runs already is left alone, so a second call takes a second.

    With `network_policies` they are enforced between pods from now on, until `down`.
    """
    if named := named_by_environment():
        return named
    cluster = node.start_node()
    if network_policies:
        node.enforce_network_policies()
    return cluster


def load(images: Iterable[str]) -> list[str]:
    """Make images of the local Docker engine known to the node; those that weren't. Same id, nothing to do."""
    return [] if named_by_environment() else containers.load(images)


def down() -> None:
    """Stop everything that was started here; a later `up` uses the same objects and volumes."""
    if not named_by_environment():
        node.end_node()


def reset() -> None:
    """Stop it and DELETE all objects and volumes. Loaded images stay, so the next `up` has nothing to copy."""
    if not named_by_environment():
        node.reset_node()


def wipe() -> None:
    """End it and DELETE all objects, volumes and loaded images."""
    if not named_by_environment():
        node.wipe_node()


def kubectl(*arguments: str, input: str | None = None) -> str:
    """What kubectl prints on the current cluster; a failure is a `ClusterError`."""
    return current().kubectl(*arguments, input=input)


def fresh_volumes() -> int:
    """Empty the volumes that no claim holds any longer and offer them again; how many."""
    return 0 if named_by_environment() else volumes.fresh_volumes(current())


def small_volume(namespace: str, claim: str) -> None:
    """Keep a volume of `volumes.SMALL_MIB` for a claim that is not made yet: one that a test can fill."""
    if not named_by_environment():
        volumes.small(current(), namespace, claim)


def api_server(version: str) -> Cluster:
    """An API server of another version, without nodes or controllers: for strict validation by a dry run."""
    return node.start_other_api_server(version)

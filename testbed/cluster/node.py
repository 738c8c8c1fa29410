"""The single node: starts its components in dependency order, and stops them without leaving anything behind."""

from __future__ import annotations

import http
import json
import os
import shutil
import sys
import urllib.request

from testbed import ext4
from testbed.cluster import configuration, containers, control_plane, credentials, mounts, network, packages, volumes
from testbed.cluster.access import Cluster, connect, kubectl_program
from testbed.cluster.build import build_kubernetes, build_node, build_tool, is_built
from testbed.cluster.constants import CONFIGURATION_DIRECTORY, KUBECONFIG, NODE_ADDRESS, NODE_NAME, POD_RANGE, ROOT
from testbed.cluster.processes import ClusterError, names, start, stop, succeeds, wait_until


def why_unavailable() -> str | None:
    """Return why no node can run here, with the fix; None if one can."""
    if not sys.platform.startswith("linux"):
        return "a node needs Linux"
    if os.geteuid() != 0:
        return "a node needs root: run as root on a machine of your own"
    if lacking := packages.missing():
        return f"not installed: apt-get install {' '.join(lacking)}"
    if reason := ext4.why_unavailable():
        return reason
    if not is_built() and shutil.which("go") is None:
        return "Kubernetes isn't built. To build it, install Go: https://go.dev/doc/install"
    return None


def start_node() -> Cluster:
    """Start what isn't running, and wait until the node is ready."""
    programs = build_node()
    kubectl = kubectl_program()
    credentials.ensure()
    configuration.write()
    network.create_bridge()
    control_plane.start_etcd()
    control_plane.start_api_server(programs)
    containers.start_containerd()
    control_plane.await_api_server(kubectl)
    control_plane.start_controllers(programs)
    start("coredns", build_tool("coredns"), "-conf", CONFIGURATION_DIRECTORY / "Corefile")
    start(
        "kubelet",
        programs / "kubelet",
        f"--config={CONFIGURATION_DIRECTORY / 'kubelet.json'}",
        f"--kubeconfig={credentials.kubeconfig_of('kubelet')}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={NODE_ADDRESS}",
        f"--root-dir={ROOT / 'kubelet'}",
        f"--cert-dir={ROOT / 'kubelet' / 'pki'}",
    )
    start(
        "proxy",
        programs / "kube-proxy",
        f"--kubeconfig={credentials.kubeconfig_of('proxy')}",
        f"--hostname-override={NODE_NAME}",
        f"--cluster-cidr={POD_RANGE}",
        "--proxy-mode=iptables",
    )
    cluster = connect(KUBECONFIG)
    volumes.ensure(cluster)
    wait_until(_dns_is_ready, "it had loaded the services", by="coredns")
    wait_until(lambda: _is_ready(cluster), f"{NODE_NAME} was ready", by="kubelet")
    # A pod is refused while the namespace's service account doesn't exist.
    wait_until(lambda: _has_service_account(cluster), "service accounts were created", by="controller-manager")
    return cluster


def enforce_network_policies() -> None:
    """Enforce NetworkPolicies between pods from now on. Traffic to the node itself (DNS, the API) is never filtered."""
    agent = build_tool("network-policies")
    start("network-policies", agent, f"--kubeconfig={KUBECONFIG}", f"--node={NODE_NAME}")
    wait_until(network.policy_agent_listens, "it processed packets", by="network-policies")
    network.queue_packets_for_policy_agent()


def start_other_api_server(version: str) -> Cluster:
    """Start only the API server of another version, for validation; the node doesn't need to be up."""
    programs = build_kubernetes(version, ("kube-apiserver",))
    kubectl = kubectl_program()
    credentials.ensure()
    control_plane.start_etcd()
    kubeconfig = control_plane.start_other_api_server(version, programs)
    control_plane.await_api_server(kubectl, kubeconfig, name=f"apiserver-{version}")
    return connect(kubeconfig)


def stop_node() -> None:
    """Stop every started process, including the pods', and remove mounts, rules and the bridge. Data stays."""
    # Stop the API server's clients first, because it waits for them, and its store last, because it waits for that too.
    servers = [name for name in names() if name.startswith("apiserver")]
    stop(*(name for name in names() if name not in {*servers, "containerd", "etcd"}))
    containers.stop_pods()
    stop(*servers, "containerd")
    stop("etcd")
    mounts.unmount_all()
    network.close()
    shutil.rmtree(configuration.ADDRESS_STATE, ignore_errors=True)
    mounts.remove_leftovers()


def reset_node() -> None:
    """Stop the node and delete its objects, volumes and logs. Loaded images stay."""
    _end_unmounted()
    for path in ROOT.iterdir() if ROOT.exists() else ():
        if path == containers.IMAGES:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def wipe_node() -> None:
    """Stop the node and delete all its data. Builds stay in the cache."""
    _end_unmounted()
    shutil.rmtree(ROOT, ignore_errors=True)


def _end_unmounted() -> None:
    stop_node()
    if left := mounts.mount_points_below(ROOT):
        raise RuntimeError(f"still mounted, so nothing is deleted: {', '.join(map(str, left))}")


def _dns_is_ready() -> bool:
    try:
        with urllib.request.urlopen(f"http://{configuration.DNS_READY}/ready", timeout=2) as answer:
            return bool(answer.status == http.HTTPStatus.OK)
    except OSError:
        return False


def _is_ready(cluster: Cluster) -> bool:
    try:
        node = json.loads(cluster.kubectl("get", "node", NODE_NAME, "--output=json"))
    except ClusterError:
        return False  # The node isn't registered yet.
    return any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", []))


def _has_service_account(cluster: Cluster) -> bool:
    return succeeds(*cluster.command(), "get", "serviceaccount", "default")

"""The configuration files of the node's components."""

from __future__ import annotations

import json
from typing import Any

from testbed.cluster.constants import (
    BRIDGE,
    CONFIGURATION_DIRECTORY,
    CONTAINERD_SOCKET,
    KUBECONFIG,
    LOG_DIRECTORY,
    NODE_ADDRESS,
    PKI_DIRECTORY,
    POD_SUBNET,
    ROOT,
)

PAUSE_IMAGE = "localhost/pause:1"
POD_NETWORK = "pti-test-pods"
"""Marks the project's packet-filter rules."""

DNS_READY = "127.0.0.1:18181"
"""CoreDNS answers `/ready` here once it has loaded the cluster's Services."""

ADDRESS_STATE = ROOT / "pod-addresses"

CONTAINERD = f"""\
version = 2
root = "{ROOT}/containerd/root"
state = "{ROOT}/containerd/state"

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE a lower oom_score_adj is refused, and no sandbox starts.
  restrict_oom_score_adj = true
  # Below the root, where the end of the cluster finds and unmounts them.
  netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{ROOT}/cni"
"""

COREDNS = f"""\
.:53 {{
  bind {NODE_ADDRESS}
  errors
  ready {DNS_READY}
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {KUBECONFIG}
    ttl 5
  }}
  # A test that has just made a service looks it up soon.
  cache 5
}}
"""

NETWORK: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": POD_NETWORK,
    "plugins": [
        {
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(ADDRESS_STATE),
                "ranges": [[{"subnet": POD_SUBNET, "rangeStart": "10.244.0.10"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}

KUBELET: dict[str, Any] = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "authentication": {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True},
        "x509": {"clientCAFile": str(PKI_DIRECTORY / "ca.crt")},
    },
    # Without this file, the kubelet signs a certificate itself, which clients can't verify.
    "tlsCertFile": str(PKI_DIRECTORY / "kubelet.crt"),
    "tlsPrivateKeyFile": str(PKI_DIRECTORY / "kubelet.key"),
    "address": NODE_ADDRESS,
    "podCIDR": POD_SUBNET,
    "clusterDNS": [NODE_ADDRESS],
    "clusterDomain": "cluster.local",
    # Pods must not use this machine's own resolver configuration.
    "resolvConf": "/dev/null",
    "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
    "cgroupDriver": "cgroupfs",
    "failCgroupV1": False,
    "failSwapOn": False,
    "maxPods": 200,
    "podLogsDir": str(LOG_DIRECTORY / "pods"),
    "volumePluginDir": str(ROOT / "volume-plugins"),
    # A test machine is full and busy; the kubelet must not evict pods or remove images because of that.
    "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    "imageGCHighThresholdPercent": 100,
    # With fewer requests per second, a rollout on two cores waits longer for the API than for the containers.
    "kubeAPIQPS": 100,
    "kubeAPIBurst": 200,
    "syncFrequency": "10s",
    # Maximum age of the kubelet's volume statistics; the default is a minute.
    "volumeStatsAggPeriod": "5s",
}


def write() -> None:
    """Write every file; a running component keeps its loaded configuration."""
    for folder in (CONFIGURATION_DIRECTORY, LOG_DIRECTORY, ROOT / "cni"):
        folder.mkdir(parents=True, exist_ok=True)
    (CONFIGURATION_DIRECTORY / "containerd.toml").write_text(CONTAINERD)
    (CONFIGURATION_DIRECTORY / "Corefile").write_text(COREDNS)
    (CONFIGURATION_DIRECTORY / "kubelet.json").write_text(json.dumps(KUBELET, indent=1))
    (ROOT / "cni" / "10-pods.conflist").write_text(json.dumps(NETWORK, indent=1))

"""The test cluster's versions, addresses, folders and programs."""

from __future__ import annotations

import os
from pathlib import Path

from testbed import cache

VERSION = os.environ.get("PTI_TEST_KUBERNETES", "1.34.4")
"""The node's version. It is one of the folders `.ci/kubernetes/<version>` that pin all of Kubernetes."""

API_SERVER_VERSIONS = ("1.28.15", "1.36.3")
"""The oldest and the newest API server that manifests are validated with, besides the node's own."""

GO_MODULES = Path(__file__).parents[2] / ".ci" / "kubernetes"
"""Go modules that pin the built programs: `<version>` for Kubernetes, others are named after the program."""

CACHE = cache.CACHE
"""Built programs and schemas; `wipe` keeps it."""

ROOT = Path(os.environ.get("PTI_TEST_CLUSTER_ROOT", "/var/lib/pti-calendar-cluster"))
"""Everything that the cluster writes: state, logs, volumes. `wipe` removes it."""

CONFIGURATION_DIRECTORY, LOG_DIRECTORY, PKI_DIRECTORY = ROOT / "conf", ROOT / "log", ROOT / "pki"
KUBECONFIG = CONFIGURATION_DIRECTORY / "admin.kubeconfig"
CONTAINERD_SOCKET = ROOT / "containerd.sock"
VOLUMES = ROOT / "volumes"
VOLUME_IMAGES = ROOT / "volume-images"

CONTEXT = "test"
NODE_NAME = "node1"
BRIDGE = "pti-pods"
NODE_ADDRESS = "10.244.0.1"
"""Address of the bridge, on which the API server, the kubelet and CoreDNS listen, and which pods can reach."""

POD_SUBNET = "10.244.0.0/24"
POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVER_SERVICE_ADDRESS = "10.96.0.1"
API_SERVER_PORT = 6443
ETCD_URL = "http://127.0.0.1:16444"
ETCD_PEERS_PORT = 16445


def kubernetes_directory(version: str) -> Path:
    """Return the folder with one version's programs."""
    return CACHE / f"kubernetes-{version}"


def tools_directory() -> Path:
    """Return the folder with the programs that have their own versions: CoreDNS, kubeconform, the policy agent."""
    return CACHE / "kubernetes-tools"

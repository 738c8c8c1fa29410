"""etcd, the API server and its controllers; also API servers of other versions, for validation.

API servers of other versions share the etcd process, each under its own prefix. They have no controllers and no nodes,
but decode, default, admit and refuse objects like any API server of their version.
"""

from __future__ import annotations

from pathlib import Path

from testbed.cluster import credentials
from testbed.cluster.constants import (
    API_SERVER_PORT,
    CONFIGURATION_DIRECTORY,
    ETCD_PEERS_PORT,
    ETCD_URL,
    KUBECONFIG,
    NODE_ADDRESS,
    PKI_DIRECTORY,
    POD_RANGE,
    ROOT,
    SERVICE_RANGE,
)
from testbed.cluster.processes import log_contains, start, succeeds, wait_until

_FIRST_OTHER_PORT = 6500
"""Base of the ports of other versions' API servers, to which the minor version is added: 1.36 uses 6536."""


def start_etcd() -> None:
    """Start etcd. It doesn't flush to disk: recent data may be lost if the machine crashes."""
    peers = f"http://127.0.0.1:{ETCD_PEERS_PORT}"
    start(
        "etcd",
        "etcd",
        f"--data-dir={ROOT / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD_URL}",
        f"--advertise-client-urls={ETCD_URL}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
    )
    # Check the process' log, not the port: another etcd on the port would respond, and then receive the test objects.
    wait_until(lambda: log_contains("etcd", "ready to serve client requests"), "it served", by="etcd")


def start_api_server(programs: Path) -> None:
    """Start the node's API server on the bridge's address, which pods can also reach."""
    start(
        "apiserver",
        programs / "kube-apiserver",
        *_common_flags(),
        f"--bind-address={NODE_ADDRESS}",
        f"--advertise-address={NODE_ADDRESS}",
        f"--secure-port={API_SERVER_PORT}",
        "--authorization-mode=Node,RBAC",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={PKI_DIRECTORY / 'admin.crt'}",
        f"--kubelet-client-key={PKI_DIRECTORY / 'admin.key'}",
    )


def await_api_server(kubectl: Path, kubeconfig: Path = KUBECONFIG, name: str = "apiserver") -> None:
    """Wait until the API server reports ready."""
    ready = (kubectl, f"--kubeconfig={kubeconfig}", "get", "--raw=/readyz")
    wait_until(lambda: succeeds(*ready), "the API server was ready", by=name)


def start_controllers(programs: Path) -> None:
    """Start the controller manager and the scheduler."""
    start(
        "controller-manager",
        programs / "kube-controller-manager",
        *_logged_in("controller-manager"),
        f"--service-account-private-key-file={PKI_DIRECTORY / 'sa.key'}",
        f"--root-ca-file={PKI_DIRECTORY / 'ca.crt'}",
        f"--cluster-cidr={POD_RANGE}",
        "--bind-address=127.0.0.1",
        "--use-service-account-credentials",
        "--leader-elect=false",
        # The cluster has two cores and one node; the defaults limit the load on a large cluster's API server.
        "--kube-api-qps=100",
        "--kube-api-burst=200",
    )
    start(
        "scheduler",
        programs / "kube-scheduler",
        *_logged_in("scheduler"),
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    )


def start_other_api_server(version: str, programs: Path) -> Path:
    """Start an API server of another version on 127.0.0.1, and return its administrator's kubeconfig. Everyone with
    this kubeconfig has access."""
    name = f"apiserver-{version}"
    port = _FIRST_OTHER_PORT + int(version.split(".")[1])
    kubeconfig = CONFIGURATION_DIRECTORY / f"{name}.kubeconfig"
    credentials.write_kubeconfig(kubeconfig, f"https://127.0.0.1:{port}")
    start(
        name,
        programs / "kube-apiserver",
        *_common_flags(),
        f"--etcd-prefix=/{name}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--authorization-mode=RBAC",
        # No controller creates service accounts here, and without them every pod would be refused.
        "--disable-admission-plugins=ServiceAccount",
    )
    return kubeconfig


def _common_flags() -> tuple[str, ...]:
    return (
        f"--etcd-servers={ETCD_URL}",
        f"--tls-cert-file={PKI_DIRECTORY / 'apiserver.crt'}",
        f"--tls-private-key-file={PKI_DIRECTORY / 'apiserver.key'}",
        f"--client-ca-file={PKI_DIRECTORY / 'ca.crt'}",
        f"--service-account-key-file={PKI_DIRECTORY / 'sa.pub'}",
        f"--service-account-signing-key-file={PKI_DIRECTORY / 'sa.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--allow-privileged=true",
    )


def _logged_in(part: str) -> tuple[str, ...]:
    kubeconfig = credentials.kubeconfig_of(part)
    return (
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
    )

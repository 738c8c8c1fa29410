"""etcd, the API server and what acts on its objects; also API servers of other versions, to validate against.

Those share the etcd process, under a prefix of their own: nothing reconciles their objects and no node belongs to
them, but they decode, default, admit and refuse as their version does.
"""

from __future__ import annotations

from pathlib import Path

from testbed.cluster import credentials
from testbed.cluster.places import (
    ADDRESS,
    CONF,
    ETCD,
    ETCD_PEERS_PORT,
    KUBECONFIG,
    PKI,
    POD_RANGE,
    PORT,
    ROOT,
    SERVICE_RANGE,
)
from testbed.cluster.processes import says, start, succeeds, wait_until

_FIRST_OTHER_PORT = 6500
"""Another version's API server listens here plus its minor version: 1.36 on 6536."""


def start_etcd() -> None:
    """The store. It doesn't wait for the disk: what a test wrote may be lost with the machine."""
    peers = f"http://127.0.0.1:{ETCD_PEERS_PORT}"
    start(
        "etcd",
        "etcd",
        f"--data-dir={ROOT / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
    )
    # Asked over its port, another etcd that had taken it would answer, and end with our objects.
    wait_until(lambda: says("etcd", "ready to serve client requests"), "it served", by="etcd")


def start_api_server(programs: Path) -> None:
    """The node's own, on the bridge's address, which pods reach too."""
    start(
        "apiserver",
        programs / "kube-apiserver",
        *_common_flags(),
        f"--bind-address={ADDRESS}",
        f"--advertise-address={ADDRESS}",
        f"--secure-port={PORT}",
        "--authorization-mode=Node,RBAC",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={PKI / 'admin.crt'}",
        f"--kubelet-client-key={PKI / 'admin.key'}",
    )


def await_api_server(kubectl: Path, kubeconfig: Path = KUBECONFIG, name: str = "apiserver") -> None:
    """Until it says that it is ready."""
    ready = (kubectl, f"--kubeconfig={kubeconfig}", "get", "--raw=/readyz")
    wait_until(lambda: succeeds(*ready), "the API server was ready", by=name)


def start_controllers(programs: Path) -> None:
    """The controller manager and the scheduler."""
    start(
        "controller-manager",
        programs / "kube-controller-manager",
        *_logged_in("controller-manager"),
        f"--service-account-private-key-file={PKI / 'sa.key'}",
        f"--root-ca-file={PKI / 'ca.crt'}",
        f"--cluster-cidr={POD_RANGE}",
        "--bind-address=127.0.0.1",
        "--use-service-account-credentials",
        "--leader-elect=false",
        # Two cores, one node: the defaults are for sparing a large cluster's API server.
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
    """One of another version on 127.0.0.1, and its administrator's kubeconfig. Refuses no one that has it."""
    name = f"apiserver-{version}"
    port = _FIRST_OTHER_PORT + int(version.split(".")[1])
    kubeconfig = CONF / f"{name}.kubeconfig"
    credentials.write_kubeconfig(kubeconfig, f"https://127.0.0.1:{port}")
    start(
        name,
        programs / "kube-apiserver",
        *_common_flags(),
        f"--etcd-prefix=/{name}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--authorization-mode=RBAC",
        # No controller makes service accounts here, and without them it would refuse every pod.
        "--disable-admission-plugins=ServiceAccount",
    )
    return kubeconfig


def _common_flags() -> tuple[str, ...]:
    return (
        f"--etcd-servers={ETCD}",
        f"--tls-cert-file={PKI / 'apiserver.crt'}",
        f"--tls-private-key-file={PKI / 'apiserver.key'}",
        f"--client-ca-file={PKI / 'ca.crt'}",
        f"--service-account-key-file={PKI / 'sa.pub'}",
        f"--service-account-signing-key-file={PKI / 'sa.key'}",
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

"""A certificate authority with the lifetime of the cluster's data, and a kubeconfig for each component."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

from testbed.cluster.constants import (
    API_SERVER_PORT,
    API_SERVER_SERVICE_ADDRESS,
    CONFIGURATION_DIRECTORY,
    CONTEXT,
    NODE_ADDRESS,
    NODE_NAME,
    PKI_DIRECTORY,
)
from testbed.cluster.processes import run, succeeds

SUBJECTS = {
    "apiserver": "/CN=kube-apiserver",
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "kubelet": f"/O=system:nodes/CN=system:node:{NODE_NAME}",
    "proxy": "/CN=system:kube-proxy",
}
"""Maps each component to the user and group in Kubernetes' default roles."""

DAYS = 30
_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", NODE_NAME, "localhost")
_ADDRESSES = ("127.0.0.1", API_SERVER_SERVICE_ADDRESS, NODE_ADDRESS)
_DAY_S = 86400


def ensure() -> None:
    """Create certificates, keys and kubeconfigs that are missing or expire within a day."""
    if succeeds("openssl", "x509", "-in", PKI_DIRECTORY / "proxy.crt", "-noout", "-checkend", str(_DAY_S)):
        return
    shutil.rmtree(PKI_DIRECTORY, ignore_errors=True)
    PKI_DIRECTORY.mkdir(parents=True, mode=0o700)
    CONFIGURATION_DIRECTORY.mkdir(parents=True, exist_ok=True)
    authority = _key("ca")
    days = ("-days", str(DAYS))
    run("openssl", "req", "-x509", "-key", authority, "-subj", "/CN=test-ca", *days, "-out", PKI_DIRECTORY / "ca.crt")
    # Signs service account tokens. RSA, because every version of the API server supports it.
    run("openssl", "genrsa", "-out", PKI_DIRECTORY / "sa.key", "2048")
    run("openssl", "rsa", "-in", PKI_DIRECTORY / "sa.key", "-pubout", "-out", PKI_DIRECTORY / "sa.pub")
    extensions = PKI_DIRECTORY / "extensions"
    alternatives = [*(f"DNS:{name}" for name in _NAMES), *(f"IP:{address}" for address in _ADDRESSES)]
    extensions.write_text(
        f"subjectAltName={','.join(alternatives)}\nextendedKeyUsage=serverAuth,clientAuth\n", encoding="ascii"
    )
    for part, subject in SUBJECTS.items():
        key, request, certificate = _key(part), PKI_DIRECTORY / f"{part}.csr", PKI_DIRECTORY / f"{part}.crt"
        run("openssl", "req", "-new", "-key", key, "-subj", subject, "-out", request)
        signed_by = ("-CA", PKI_DIRECTORY / "ca.crt", "-CAkey", authority, "-CAcreateserial")
        run("openssl", "x509", "-req", "-in", request, *signed_by, *days, "-extfile", extensions, "-out", certificate)
        write_kubeconfig(kubeconfig_of(part), f"https://{NODE_ADDRESS}:{API_SERVER_PORT}", part)


def kubeconfig_of(part: str) -> Path:
    """Return the kubeconfig of one of `SUBJECTS`."""
    return CONFIGURATION_DIRECTORY / f"{part}.kubeconfig"


def write_kubeconfig(path: Path, server: str, part: str = "admin") -> None:
    """Write a kubeconfig for one of `SUBJECTS` and an API server's address; it needs no other file."""
    user = {"client-certificate-data": _inline(f"{part}.crt"), "client-key-data": _inline(f"{part}.key")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": CONTEXT, "cluster": {"server": server, "certificate-authority-data": _inline("ca.crt")}},
        ],
        "users": [{"name": part, "user": user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": part}}],
        "current-context": CONTEXT,
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1))


def _inline(name: str) -> str:
    return base64.b64encode((PKI_DIRECTORY / name).read_bytes()).decode()


def _key(name: str) -> Path:
    path = PKI_DIRECTORY / f"{name}.key"
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
    return path

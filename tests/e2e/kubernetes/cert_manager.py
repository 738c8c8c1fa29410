"""cert-manager's controllers running on the test cluster, with an issuer of a private certificate authority."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from testbed.cluster import Cluster
from tests.e2e.kubernetes import extensions
from tests.e2e.kubernetes.stack import ClusterStack

VERSION = "1.21.2"
IMAGE = f"quay.io/jetstack/cert-manager-controller:v{VERSION}"
NAMESPACE = "cert-manager"
MANIFEST = Path(__file__).with_name("cert_manager.yaml")
ISSUER = "letsencrypt"
"""The issuer named in Pulumi.prod.yaml; here it is a private authority."""


@contextmanager
def installed(cluster: Cluster, folder: Path) -> Iterator[str]:
    """Run the controllers and the issuer for the duration of the context; return the authority's certificate.

    Args:
        cluster: a node that can run them.
        folder: an empty directory outside of any Go module.
    """
    extensions.load({IMAGE: "cert-manager"})
    extensions.install(cluster, "Certificate", folder)
    try:
        cluster.kubectl("apply", "--server-side", f"--filename={MANIFEST}")
        cluster.kubectl("wait", f"clusterissuer/{ISSUER}", "--for=condition=Ready", "--timeout=180s")
        yield secret(cluster, NAMESPACE, "authority")["tls.crt"]
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "--wait=true", f"--filename={MANIFEST}")
        extensions.remove(cluster, "Certificate", folder)


def secret(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    """Return the content of a Secret."""
    data = json.loads(cluster.kubectl("--namespace", namespace, "get", "secret", name, "--output=json"))["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def renew(stack: ClusterStack, certificate: str) -> None:
    """Request a new certificate before the renewal time, as `cmctl renew` does."""
    condition = {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "renewal asked for",
        "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    known = json.loads(stack.kubectl("get", "certificate", certificate, "--output=json"))["status"]["conditions"]
    patch = json.dumps({"status": {"conditions": [*known, condition]}})
    stack.kubectl("patch", "certificate", certificate, "--subresource=status", "--type=merge", f"--patch={patch}")

"""Certificates that cert-manager issues and renews."""

from __future__ import annotations

from backends.kubernetes import labels
from backends.kubernetes.manifest import Manifest, manifest
from workloads import CertificateRequest


def certificate(request: CertificateRequest) -> Manifest:
    """Return a Certificate. The update doesn't wait for it: pods that mount its Secret start once the Secret exists."""
    kind = "ClusterIssuer" if request.has_shared_issuer else "Issuer"
    return manifest(
        "cert-manager.io/v1",
        "Certificate",
        name=request.name,
        labels=labels.platform_labels(),
        spec={
            "secretName": request.name,
            "dnsNames": list(request.hosts),
            "issuerRef": {"name": request.issuer, "kind": kind, "group": "cert-manager.io"},
            # A renewed certificate has a new key, so that a leaked one becomes useless.
            "privateKey": {"rotationPolicy": "Always"},
        },
    )

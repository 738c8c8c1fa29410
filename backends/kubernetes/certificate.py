"""Certificates that cert-manager obtains and renews."""

from __future__ import annotations

from backends.kubernetes import labels
from backends.kubernetes.manifest import Manifest, manifest
from workloads import CertificateRequest


def certificate(request: CertificateRequest) -> Manifest:
    """A Certificate. Nobody waits for it: what mounts its Secret starts once that is there."""
    return manifest(
        "cert-manager.io/v1",
        "Certificate",
        name=request.name,
        labels=labels.platform(),
        spec={
            "secretName": request.name,
            "dnsNames": list(request.hosts),
            "issuerRef": {"name": request.issuer, "kind": request.issuer_kind, "group": "cert-manager.io"},
            # A renewed certificate has a new key: one that leaked is then worth nothing.
            "privateKey": {"rotationPolicy": "Always"},
        },
    )

"""The certificate for the platform's host names."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from backends.base import Backend, DeployOptions
from backends.refusals import require_part
from capabilities import Capability
from settings.gateway import TlsSettings
from workloads import CertificateRequest, FileSet, TlsKeyPair

TlsSource = str | TlsKeyPair
"""A Secret's name, or the pair itself."""

VALIDITY_H = 365 * 24
RENEWAL_WINDOW_H = 30 * 24


def tls_certificate(
    settings: TlsSettings, hosts: Sequence[str], backend: Backend, *, parent: pulumi.Resource
) -> TlsSource:
    """Return the certificate of the configured source."""
    if settings.source == "self-signed":
        return _self_signed(hosts, parent)
    if settings.source == "cert-manager":
        request = CertificateRequest(
            name=settings.secret_name,
            hosts=tuple(hosts),
            issuer=settings.issuer or "",
            has_shared_issuer=settings.issuer_kind == "ClusterIssuer",
        )
        issuer = require_part(backend.certificate_issuer, "cert-manager", backend.kind, Capability.CERTIFICATES)
        issuer.request_certificate(request, DeployOptions(parent=parent))
    return settings.secret_name


def file_set(source: TlsSource, directory: str) -> FileSet:
    """Return the files `tls.crt` and `tls.key` in a directory."""
    if isinstance(source, str):
        return FileSet(name="certificate", directory=directory, external_secret=source, secret=True)
    files = {"tls.crt": source.certificate, "tls.key": source.private_key}
    return FileSet(name="certificate", directory=directory, files=files, secret=True)


def _self_signed(hosts: Sequence[str], parent: pulumi.Resource) -> TlsKeyPair:
    """Return a self-signed certificate. In its last month, the next update renews it."""
    # Imported here, because no other source needs the provider.
    import pulumi_tls as tls

    key = tls.PrivateKey(
        "gateway-key", algorithm="ECDSA", ecdsa_curve="P256", opts=pulumi.ResourceOptions(parent=parent)
    )
    certificate = tls.SelfSignedCert(
        "gateway-certificate",
        private_key_pem=key.private_key_pem,
        subject=tls.SelfSignedCertSubjectArgs(common_name=hosts[0], organization="PTI Calendar, self-signed"),
        dns_names=list(hosts),
        allowed_uses=["digital_signature", "server_auth"],
        validity_period_hours=VALIDITY_H,
        early_renewal_hours=RENEWAL_WINDOW_H,
        opts=pulumi.ResourceOptions(parent=parent),
    )
    return TlsKeyPair(certificate.cert_pem, pulumi.Output.secret(key.private_key_pem))

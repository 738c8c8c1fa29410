"""Host names at the backend's edge, and certificates for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

from workloads.connections import Endpoint


@dataclass(frozen=True)
class Route:
    """A host name and the workload behind it."""

    host: str
    """Fully qualified host name, without a wildcard."""

    to: Endpoint


@dataclass(frozen=True)
class TlsKeyPair:
    """A certificate and its private key, both in PEM."""

    certificate: pulumi.Input[str]
    private_key: pulumi.Input[str]
    """PEM text of the private key (secret)."""


@dataclass(frozen=True, kw_only=True)
class CertificateRequest:
    """A certificate that the backend's issuer signs and renews."""

    name: str
    """Name of the secret that will hold it, with the keys `tls.crt` and `tls.key`."""

    hosts: tuple[str, ...]
    issuer: str
    """Name of the issuer."""

    has_shared_issuer: bool
    """Whether other platforms use the issuer as well; if not, it belongs to this platform."""


@dataclass(frozen=True, kw_only=True)
class EdgeEntry:
    """An entry of the platform's own at the edge."""

    tls: str | TlsKeyPair
    """Certificate for all hosts: the name of the secret that contains it, or the pair itself."""

    controller: str | None = None
    """Controller at the edge that serves the entry; None means the default one."""

    controller_options: Mapping[str, str] = field(default_factory=dict)
    """Options in the controller's own terms."""


@dataclass(frozen=True, kw_only=True)
class SharedGateway:
    """A gateway that other platforms use as well. Its listeners have the certificates."""

    name: str
    location: str | None = None
    """Where it is, in the backend's own terms; None means next to the platform's workloads."""

    tls_listener: str | None = None
    """Listener that routes are attached to; None means every listener that allows them."""

    plain_listener: str | None = None
    """Listener without TLS, on which requests are redirected to HTTPS."""

    response_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers to set on every response, whatever the workload sends."""


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The platform's host names, and how the backend's edge serves them."""

    name: str
    routes: tuple[Route, ...]
    through: EdgeEntry | SharedGateway
    edge_location: str
    """Where the edge's processes run, which forward users' requests to the workloads, in the backend's own terms."""

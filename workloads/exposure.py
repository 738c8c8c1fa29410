"""Host names at the cluster's own edge: an Ingress controller or a Gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
    """A certificate that cert-manager issues and renews."""

    name: str
    """Name of the Secret that will hold it, with the keys `tls.crt` and `tls.key`."""

    hosts: tuple[str, ...]
    issuer: str
    issuer_kind: Literal["ClusterIssuer", "Issuer"]


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The platform's host names and how the cluster's edge serves them."""

    name: str
    kind: Literal["ingress", "gateway-api"]
    routes: tuple[Route, ...]
    tls: str | TlsKeyPair | None
    """Certificate for all hosts: the name of the Secret that contains it, or the pair itself. None if a shared Gateway
    has it."""

    callers_namespace: str
    """Namespace of the controller's pods, which forward users' requests to the workloads."""

    ingress_class: str | None = None
    """Ingress class; None means the cluster's default class."""

    annotations: Mapping[str, str] = field(default_factory=dict)
    """Annotations of the Ingress, for its controller."""

    gateway: str | None = None
    """Name of the Gateway that HTTPRoutes attach to."""

    gateway_namespace: str | None = None
    """Namespace of the Gateway; None means the platform's namespace."""

    https_listener: str | None = None
    """Listener of the Gateway that HTTPRoutes attach to; None means every listener that allows them."""

    http_listener: str | None = None
    """Listener of the Gateway without TLS, on which requests are redirected to HTTPS."""

    response_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that HTTPRoutes set on every response, whatever the workload sends."""

"""How users come in, where the platform has an edge of its own: an Ingress controller or a gateway."""

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
    """Fully qualified, without a wildcard."""

    to: Endpoint


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both in PEM."""

    certificate: pulumi.Input[str]
    private_key: pulumi.Input[str]
    """Secret."""


@dataclass(frozen=True, kw_only=True)
class CertificateRequest:
    """A certificate that cert-manager is to obtain and renew."""

    name: str
    """Of the Secret that will hold it, with the keys `tls.crt` and `tls.key`."""

    hosts: tuple[str, ...]
    issuer: str
    issuer_kind: Literal["ClusterIssuer", "Issuer"]


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The host names of the platform, and who answers for them at its edge."""

    name: str
    kind: Literal["ingress", "gateway-api"]
    routes: tuple[Route, ...]
    tls: str | KeyPair | None
    """Certificate for all hosts: the name of the Secret that holds it, or the pair itself. None where a shared
    gateway holds it."""

    callers_namespace: str
    """Namespace of the pods that carry users' requests to the workloads: the controller's."""

    ingress_class: str | None = None
    """Of an Ingress: the controller that takes it; None leaves it to the cluster's default class."""

    annotations: Mapping[str, str] = field(default_factory=dict)
    """Of an Ingress: what its controller alone understands."""

    gateway: str | None = None
    """Of HTTPRoutes: name of the Gateway they attach to."""

    gateway_namespace: str | None = None
    """Of HTTPRoutes: the Gateway's namespace; None for the platform's own."""

    https_listener: str | None = None
    """Of HTTPRoutes: the Gateway's listener that they attach to; None for every one that lets them."""

    http_listener: str | None = None
    """Of HTTPRoutes: the Gateway's listener without TLS, where every request is sent to HTTPS."""

    answer_headers: Mapping[str, str] = field(default_factory=dict)
    """Of HTTPRoutes: what every answer carries, whatever the workload says."""

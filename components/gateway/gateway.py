"""The gateway: an edge that terminates TLS and routes by host name, and Kong, which routes the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from backends.base import Backend, DeployOptions
from backends.refusals import require_part
from capabilities import Capability
from components.credentials import Credentials
from components.gateway import certificate, kong, nginx
from components.gateway.declaration import Configuration, Upstream
from components.gateway.headers import SECURITY_HEADERS
from components.stores.redis import RedisStore
from settings.catalog import API_SUBDOMAIN, FrontendSpec
from settings.credentials import JWT
from settings.edge import EdgeSettings
from settings.gateway import GatewaySettings
from workloads import EdgeEntry, Endpoint, Exposure, Route, SharedGateway

TYPE = "pti-calendar:index:Gateway"


@dataclass(frozen=True, kw_only=True)
class GatewayArgs:
    """Arguments of the gateway: its settings, and the workloads that it routes to."""

    settings: GatewaySettings
    edge: EdgeSettings
    admin_api: bool
    """Whether Kong's Admin API runs."""

    services: Sequence[Upstream]
    frontends: Sequence[FrontendSpec]
    """Front ends that run in the stack."""

    cors_origins: Sequence[str]
    redis: RedisStore
    """The Redis in which Kong counts requests."""

    backend: Backend
    credentials: Credentials


class Gateway(pulumi.ComponentResource):
    """Kong without a database, and in front of it nginx, an Ingress, or routes of a Gateway.

    Every host name and every route follows the tables of services and front ends.
    """

    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        settings, backend = args.settings, args.backend
        routes = [Route(settings.host(API_SUBDOMAIN), kong.PROXY)]
        routes += [Route(settings.host(one.subdomain), Endpoint(one.name, one.port)) for one in args.frontends]
        hosts = [route.host for route in routes]
        tls_source = certificate.tls_certificate(settings.tls, hosts, backend, parent=self)
        backend.deploy(
            kong.gateway(
                settings,
                Configuration(
                    services=args.services,
                    jwt_secret=args.credentials[JWT],
                    cors_origins=args.cors_origins,
                    rate_limit=settings.rate_limit,
                    redis=args.redis,
                ),
                certificate.file_set(tls_source, kong.CERTIFICATE_DIRECTORY),
                backend,
                admin_api=args.admin_api,
            ),
            DeployOptions(parent=self),
        )
        if args.edge.kind == "nginx":
            files = certificate.file_set(tls_source, nginx.CERTIFICATE_DIRECTORY)
            backend.deploy(nginx.load_balancer(args.edge.nginx, routes, files, backend), DeployOptions(parent=self))
        else:
            edge = require_part(backend.edge, f"the edge {args.edge.kind!r}", backend.kind, Capability.EDGE)
            edge.expose(_exposure(args.edge, routes, tls_source), DeployOptions(parent=self))
        self.register_outputs({"endpoint": str(kong.PROXY), "hosts": hosts})


def _exposure(settings: EdgeSettings, routes: Sequence[Route], tls_source: certificate.TlsSource) -> Exposure:
    ingress, gateway_api = settings.ingress, settings.gateway_api
    through: EdgeEntry | SharedGateway
    if settings.kind == "gateway-api":
        through = SharedGateway(
            name=gateway_api.gateway or "",
            location=gateway_api.gateway_namespace,
            tls_listener=gateway_api.https_listener,
            plain_listener=gateway_api.http_listener,
            response_headers=SECURITY_HEADERS,
        )
    else:
        # An Ingress has no field for response headers, and annotations depend on the controller.
        through = EdgeEntry(tls=tls_source, controller=ingress.class_name, controller_options=ingress.annotations)
    return Exposure(
        name="pti-calendar",
        routes=tuple(routes),
        through=through,
        edge_location=settings.controller_namespace,
    )

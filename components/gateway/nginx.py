"""nginx as the load balancer: its configuration, generated from the routes, and the workload that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from backends.base import Backend
from components.assets import asset
from components.gateway import kong, limits, timeouts
from components.gateway.headers import SECURITY_HEADERS
from settings.edge import LoadBalancerSettings, NginxSettings
from workloads import (
    Endpoint,
    FileSet,
    HttpGet,
    Liveness,
    LoadBalancer,
    Port,
    Probe,
    Route,
    Scratch,
    Service,
)

NAME = "nginx"
HTTP_PORT, HTTPS_PORT = 8080, 8443
STATUS_ENDPOINT = Endpoint(NAME, 8081)
"""Port of nginx' health check and metrics. It isn't published."""

CONFIGURATION_DIRECTORY = "/etc/nginx/pti-calendar"
CERTIFICATE_DIRECTORY = "/etc/nginx/certificate"
UID = 101


def load_balancer(settings: NginxSettings, routes: Sequence[Route], certificate: FileSet, backend: Backend) -> Service:
    """Return the workload that runs nginx."""
    return Service(
        name=NAME,
        image=settings.image,
        user=UID,
        replicas=settings.replicas,
        command=("sh", f"{CONFIGURATION_DIRECTORY}/start.sh", CERTIFICATE_DIRECTORY),
        file_sets=(
            FileSet(
                name="configuration",
                directory=CONFIGURATION_DIRECTORY,
                files={
                    "start.sh": asset("nginx/start.sh"),
                    "nginx.conf": _configuration(settings, routes, backend),
                },
            ),
            certificate,
        ),
        ports=(
            Port(name="http", number=HTTP_PORT, publish=settings.http_port, public=True),
            Port(name="https", number=HTTPS_PORT, publish=settings.https_port, public=True),
            Port(name="status", number=STATUS_ENDPOINT.port),
        ),
        scratch=(Scratch(path="/tmp", size_mib=16),),  # noqa: S108 - a mount of its own
        memory_mib=settings.memory_mib,
        readiness=Probe(check=HttpGet(port=STATUS_ENDPOINT.port, path="/healthz")),
        # The kernel accepts connections even for a hung process. The page needs no front end and no gateway.
        liveness=Liveness(check=HttpGet(port=STATUS_ENDPOINT.port, path="/healthz")),
        # A missing upstream only causes 502 for its own hosts: nginx doesn't wait for front ends.
        connects_to=tuple(route.to for route in routes),
        stop_grace_s=30,
        load_balancer=_options(settings.load_balancer) if settings.load_balancer.model_fields_set else None,
    )


def _options(settings: LoadBalancerSettings) -> LoadBalancer:
    return LoadBalancer(
        annotations=settings.annotations,
        controller=settings.class_name,
        keeps_client_address=settings.external_traffic_policy == "Local",
        source_ranges=settings.source_ranges,
    )


def _configuration(settings: NginxSettings, routes: Sequence[Route], backend: Backend) -> str:
    server = Template(asset("nginx/server.conf"))
    servers = [
        server.substitute(
            host=route.host,
            # Kong refuses a body that is too large, with the headers that a browser needs to read the response. Front
            # ends accept none.
            max_body="0" if route.to == kong.PROXY else "1m",
            public_port=settings.https_port,
            connect_s=timeouts.CONNECT_TIMEOUT_S,
            answer_s=timeouts.EDGE_RESPONSE_S,
            resend_s=timeouts.RETRY_WITHIN_S,
            upstream=f"{backend.addressing.fqdn(route.to.workload)}:{route.to.port}",
            https_port=HTTPS_PORT,
            certificate=CERTIFICATE_DIRECTORY,
            headers="\n        ".join(f'add_header {name} "{text}" always;' for name, text in SECURITY_HEADERS.items()),
        )
        for route in routes
    ]
    return Template(asset("nginx/nginx.conf")).substitute(
        http_port=HTTP_PORT,
        https_port=HTTPS_PORT,
        status_port=STATUS_ENDPOINT.port,
        # Redirects need the port that browsers use, not the container's.
        redirect_port="" if settings.https_port == 443 else f":{settings.https_port}",
        client_s=timeouts.EDGE_CLIENT_TIMEOUT_S,
        header_lines=limits.HEADER_BUFFERS,
        header_line_kib=limits.HEADER_BUFFER_KIB,
        answer_headers_kib=limits.EDGE_RESPONSE_HEADERS_KIB,
        answer_buffers=limits.RESPONSE_BUFFERS,
        answer_buffer_kib=limits.RESPONSE_BUFFER_KIB,
        client_table_mib=limits.CLIENT_TABLE_MIB,
        edge_rate=limits.EDGE_RATE_PER_CLIENT,
        edge_burst=limits.EDGE_BURST_PER_CLIENT,
        connections=limits.CONNECTIONS_PER_CLIENT,
        certificate=CERTIFICATE_DIRECTORY,
        servers="\n".join(servers),
    )

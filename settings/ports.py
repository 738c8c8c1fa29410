"""The host ports of a stack."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic.alias_generators import to_camel

from capabilities import Capability, offers
from settings.models import Settings


def kong_admin_api(settings: Settings) -> bool:
    """Return whether Kong's Admin API runs. By default it only runs with well-known credentials."""
    configured = settings.gateway.kong.admin_api
    return settings.credentials == "well-known" if configured is None else configured


def runs_nginx(settings: Settings) -> bool:
    """Return whether the stack runs nginx at the edge."""
    return settings.gateway.enabled and settings.edge.kind == "nginx"


def published_ports(settings: Settings) -> Iterator[tuple[str, int]]:
    """Yield each host port that the stack binds, together with the configuration key that sets it."""
    if not offers(settings.backend.kind, Capability.HOST_PORTS):
        return
    for name, store in settings.stores.items():
        if not store.is_external:
            yield from ((f"{to_camel(name)}{path}.port", port) for path, _, port in store.host_ports())
    if settings.dev_tools.enabled:
        yield "devTools.pgAdmin.port", settings.dev_tools.pg_admin.port
        yield "devTools.kafkaUi.port", settings.dev_tools.kafka_ui.port
        yield "devTools.redisCommander.port", settings.dev_tools.redis_commander.port
    if settings.gateway.enabled:
        yield "edge.nginx.httpPort", settings.edge.nginx.http_port
        yield "edge.nginx.httpsPort", settings.edge.nginx.https_port
        yield "gateway.kong.proxyPort", settings.gateway.kong.proxy_port
        yield "gateway.kong.tlsPort", settings.gateway.kong.tls_port
        if kong_admin_api(settings):
            yield "gateway.kong.adminPort", settings.gateway.kong.admin_port
    if settings.monitoring.enabled:
        yield "monitoring.prometheus.port", settings.monitoring.prometheus.port
        yield "monitoring.alertmanager.port", settings.monitoring.alertmanager.port
        yield "monitoring.grafana.port", settings.monitoring.grafana.port

"""The host ports of a stack."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic.alias_generators import to_camel

from capabilities import Capability, offers
from settings.base import Section
from settings.models import Settings


def kong_admin_api(settings: Settings) -> bool:
    """Return whether Kong's Admin API runs. By default it only runs with well-known credentials."""
    configured = settings.gateway.kong.admin_api
    return settings.credentials == "well-known" if configured is None else configured


def runs_nginx(settings: Settings) -> bool:
    """Return whether the stack runs nginx at the edge."""
    return settings.gateway.enabled and settings.edge.kind == "nginx"


def host_port_keys(settings: Settings) -> Iterator[tuple[str, Section, str, bool]]:
    """Yield each key that only sets a host port: path of its section, the section, its field, whether it is bound."""
    for store_name, store in settings.stores.items():
        for path, section in store.host_ports():
            yield f"{to_camel(store_name)}{path}", section, "port", not store.is_external
    for field in ("proxy_port", "tls_port", "admin_port"):
        is_open = settings.gateway.enabled and (field != "admin_port" or kong_admin_api(settings))
        yield "gateway.kong", settings.gateway.kong, field, is_open
    for name in ("prometheus", "alertmanager", "grafana"):
        yield f"monitoring.{name}", getattr(settings.monitoring, name), "port", settings.monitoring.enabled


def published_ports(settings: Settings) -> Iterator[tuple[str, int]]:
    """Yield each host port that the stack binds, together with the configuration key that sets it."""
    if not offers(settings.backend.kind, Capability.HOST_PORTS):
        return
    for path, section, field, is_bound in host_port_keys(settings):
        if is_bound:
            yield f"{path}.{to_camel(field)}", getattr(section, field)
    if settings.dev_tools.enabled:
        yield "devTools.pgAdmin.port", settings.dev_tools.pg_admin.port
        yield "devTools.kafkaUi.port", settings.dev_tools.kafka_ui.port
        yield "devTools.redisCommander.port", settings.dev_tools.redis_commander.port
    if settings.gateway.enabled:
        yield "edge.nginx.httpPort", settings.edge.nginx.http_port
        yield "edge.nginx.httpsPort", settings.edge.nginx.https_port

"""The host ports of a stack."""

from __future__ import annotations

from collections.abc import Iterator

from settings.models import Settings


def kong_admin_api(settings: Settings) -> bool:
    """Whether Kong's admin API runs. Its default follows the credentials: only a developer's stack has known ones."""
    configured = settings.gateway.kong.admin_api
    return settings.credentials == "well-known" if configured is None else configured


def published_ports(settings: Settings) -> Iterator[tuple[str, int]]:
    """Yield each host port that the stack binds, after the configuration key that changes it."""
    if settings.backend.kind != "docker":
        return
    if settings.postgres.mode != "external":
        yield "postgres.port", settings.postgres.port
    if settings.redis.mode != "external":
        yield "redis.port", settings.redis.port
    if settings.kafka.mode != "external":
        yield "kafka.port", settings.kafka.port
    if settings.kafka.mode == "zookeeper":
        yield "kafka.zookeeper.port", settings.kafka.zookeeper.port
    if settings.dev_tools.enabled:
        yield "devTools.pgAdmin.port", settings.dev_tools.pg_admin.port
        yield "devTools.kafkaUi.port", settings.dev_tools.kafka_ui.port
        yield "devTools.redisCommander.port", settings.dev_tools.redis_commander.port
    if settings.gateway.enabled:
        yield "gateway.nginx.httpPort", settings.gateway.nginx.http_port
        yield "gateway.nginx.httpsPort", settings.gateway.nginx.https_port
        yield "gateway.kong.proxyPort", settings.gateway.kong.proxy_port
        yield "gateway.kong.tlsPort", settings.gateway.kong.tls_port
        if kong_admin_api(settings):
            yield "gateway.kong.adminPort", settings.gateway.kong.admin_port
    if settings.monitoring.enabled:
        yield "monitoring.prometheus.port", settings.monitoring.prometheus.port
        yield "monitoring.alertmanager.port", settings.monitoring.alertmanager.port
        yield "monitoring.grafana.port", settings.monitoring.grafana.port

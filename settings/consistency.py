"""What goes together across the sections of a stack's configuration, and what a backend can't honour."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING

from pydantic.alias_generators import to_camel

from settings import postgres_connections
from settings.base import Section, without_effect

if TYPE_CHECKING:
    from settings.applications import Frontends, Scaling, Services
    from settings.models import Settings


def contradictions(settings: Settings) -> dict[str, str]:
    """Configuration key to what would be allowed there; empty when everything goes together."""
    allowed: dict[str, str] = {}
    taken: dict[int, str] = {}
    for key, port in settings.published_ports():
        if port in taken:
            allowed[key] = f"a port of its own: {port} is already taken by {taken[port]}"
        taken.setdefault(port, key)
    if settings.credentials == "well-known" and not settings.backend.bind_address.is_loopback:
        allowed["credentials"] = (
            "'generated', as backend.bindAddress publishes ports beyond this machine; "
            "or a bindAddress on loopback (127.0.0.1)"
        )
    if settings.gateway.enabled and not settings.kong_admin_api:
        reason = "without the administration API (gateway.kong.adminApi)"
        found = without_effect(settings.gateway.kong, ["admin_port"], reason=reason)
        allowed |= {f"gateway.kong.{key}": text for key, text in found.items()}
    allowed |= _out_of_place_on_kubernetes(settings) if settings.on_kubernetes else _out_of_place_on_docker(settings)
    external_postgres = settings.postgres.mode == "external"
    if settings.credentials == "well-known" and external_postgres:
        allowed["credentials"] = "'generated' with an external PostgreSQL, whose roles would get these passwords"
    encrypted_kafka = settings.kafka.mode == "external" and settings.kafka.external.security_protocol != "PLAINTEXT"
    if settings.dev_tools.enabled and (settings.redis.mode == "external" or encrypted_kafka):
        allowed.setdefault("devTools.enabled", "false with an external Redis, or a Kafka that encrypts")
    if settings.frontends.deploy and not settings.gateway.enabled:
        allowed["frontends.deploy"] = "nothing without the gateway (gateway.enabled), the only way to a front end"
    if settings.services.local and not settings.gateway.enabled:
        allowed.setdefault("services.local", "nothing without the gateway (gateway.enabled), which leads there")
    redis_host = settings.redis.external.host
    if settings.gateway.enabled and settings.redis.external.tls and redis_host is not None and _is_address(redis_host):
        allowed["redis.external.host"] = (
            "a host name with gateway.enabled and redis.external.tls: Kong checks the certificate by name, and doesn't "
            "start with an address"
        )
    if settings.monitoring.enabled and not settings.gateway.runs_nginx:
        reason = "without nginx (gateway.enabled, gateway.edge: nginx), whose certificate it is about"
        found = without_effect(settings.monitoring.thresholds, ["certificate_days"], reason=reason)
        allowed |= {f"monitoring.thresholds.{key}": text for key, text in found.items()}
    told = settings.monitoring.receivers
    if settings.protect and settings.monitoring.enabled and not (told.notify_people or told.none):
        allowed["monitoring.receivers"] = (
            "a receiver, as the stack has protect: true and its alerts would reach nobody: webhook: true with the "
            "secret alertWebhookUrl, or email.to with email.smarthost; or none: true, where that is on purpose"
        )
    # How many replicas there may be comes first.
    replicas_are_right = not any(key.startswith("services.") for key in allowed)
    accepted, needed = settings.postgres.max_connections, postgres_connections.needed(settings.services)
    if replicas_are_right and not external_postgres and accepted < needed:
        allowed["postgres.maxConnections"] = postgres_connections.at_least(settings.services)
    return allowed


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _out_of_place_on_kubernetes(settings: Settings) -> dict[str, str]:
    allowed = {}
    if settings.kubernetes.kubeconfig is None:
        allowed["kubernetes.kubeconfig"] = "the path of a kubeconfig file, as backend.kind is 'kubernetes'"
    if settings.kubernetes.context is None:
        allowed["kubernetes.context"] = "a context of the kubeconfig file, as backend.kind is 'kubernetes'"
    if settings.credentials == "well-known":
        allowed["credentials"] = "'generated' in a cluster: well-known credentials are for a laptop"
    if settings.services.local:
        allowed["services.local"] = "nothing in a cluster: it can't reach a developer's machine"
    if settings.dev_tools.enabled:
        allowed["devTools.enabled"] = "false in a cluster: the tools have no accounts of their own"
    reason = "in a cluster, which binds no port of a host"
    found = without_effect(settings.monitoring.exporters, ["node"], reason="in a cluster, whose nodes aren't ours")
    allowed |= {f"monitoring.exporters.{key}": text for key, text in found.items()}
    for path, section, names in _host_ports(settings):
        found = without_effect(section, names, reason=reason)
        allowed |= {f"{path}.{key}": text for key, text in found.items()}
    return allowed


def _host_ports(settings: Settings) -> Iterator[tuple[str, Section, tuple[str, ...]]]:
    """The settings that only Docker has a use for. nginx's ports are those of its Service, too."""
    yield "postgres", settings.postgres, ("port",)
    yield "redis", settings.redis, ("port",)
    yield "kafka", settings.kafka, ("port",)
    yield "kafka.zookeeper", settings.kafka.zookeeper, ("port",)
    yield "gateway.kong", settings.gateway.kong, ("proxy_port", "tls_port", "admin_port")
    yield "monitoring.prometheus", settings.monitoring.prometheus, ("port",)
    yield "monitoring.alertmanager", settings.monitoring.alertmanager, ("port",)
    yield "monitoring.grafana", settings.monitoring.grafana, ("port",)


def _out_of_place_on_docker(settings: Settings) -> dict[str, str]:
    allowed = without_effect(settings, ["kubernetes"], reason="with backend.kind 'docker'")
    if settings.postgres.mode == "cloudnativepg":
        allowed["postgres.mode"] = "'statefulset' or 'external' on Docker: CloudNativePG needs a cluster"
    if settings.kafka.brokers > 1:
        allowed["kafka.brokers"] = "1 on Docker: one engine is one place to lose"
    if settings.gateway.edge != "nginx":
        allowed["gateway.edge"] = "'nginx' on Docker: Ingress and Gateway API need a cluster"
    if settings.gateway.tls.source != "self-signed":
        allowed["gateway.tls.source"] = "'self-signed' on Docker: Secrets and cert-manager need a cluster"
    found = without_effect(settings.monitoring.exporters, ["kube_state"], reason="on Docker, which has no such objects")
    allowed |= {f"monitoring.exporters.{key}": text for key, text in found.items()}
    if settings.monitoring.prometheus.kubelets:
        allowed["monitoring.prometheus.kubelets"] = "false on Docker, which has none"
    for key, number, scaling in _copies(settings):
        if (number or 1) > 1:
            allowed[f"{key}.replicas"] = "1 on Docker, which runs one copy"
        if scaling is not None:
            allowed[f"{key}.scaling"] = "nothing on Docker, which runs one copy: remove it"
    return allowed


def _copies(settings: Settings) -> Iterator[tuple[str, int | None, Scaling | None]]:
    """Each key below which a number of copies is said, with what is said there."""
    yield "gateway.kong", settings.gateway.kong.replicas, None
    yield "gateway.nginx", settings.gateway.nginx.replicas, None
    applications: tuple[tuple[str, Services | Frontends], ...] = (
        ("services", settings.services),
        ("frontends", settings.frontends),
    )
    for key, section in applications:
        yield key, section.replicas, section.scaling
        own: Section = section.each
        for name, one in own:
            yield f"{key}.each.{to_camel(name)}", one.replicas, one.scaling

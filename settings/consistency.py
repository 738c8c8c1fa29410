"""Rules across the sections of a stack's configuration, and settings that a backend doesn't support.

The backends refuse the same on their own (`backends/*/refusals.py`), for callers without settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from pydantic.alias_generators import to_camel

from settings import postgres_connections
from settings.applications import Frontends, Scaling, Services
from settings.backend import within
from settings.base import REMOVE, Conflict, Section, set_to, unused_keys
from settings.models import Settings
from settings.ports import kong_admin_api, published_ports

GATEWAY_OFF = "pulumi config set --path pti-calendar:gateway.enabled true; or remove the key: " + REMOVE
GENERATED = set_to("generated")
PUBLIC_PASSWORDS = "contains publicly known passwords"


def conflicts(settings: Settings) -> dict[str, Conflict]:
    """Return the conflicts by configuration key; empty if there is none."""
    found: dict[str, Conflict] = {}
    taken: dict[int, str] = {}
    for key, port in published_ports(settings):
        if port in taken:
            found[key] = Conflict(f"is {port}, which {taken[port]} uses already", set_to("OTHER_PORT"))
        taken.setdefault(port, key)
    if settings.credentials == "well-known" and not settings.backend.bind_address.is_loopback:
        problem = f"{PUBLIC_PASSWORDS}, and backend.bindAddress publishes the ports beyond this machine"
        found["credentials"] = Conflict(problem, f"{GENERATED}; or set backend.bindAddress to 127.0.0.1")
    if settings.gateway.enabled and not kong_admin_api(settings):
        reason = "without the admin API (gateway.kong.adminApi)"
        found |= _below("gateway.kong", unused_keys(settings.gateway.kong, ["admin_port"], reason=reason))
    found |= (
        _unsupported_on_kubernetes(settings)
        if settings.backend.kind == "kubernetes"
        else _unsupported_on_docker(settings)
    )
    external_postgres = settings.postgres.mode == "external"
    if settings.credentials == "well-known" and external_postgres:
        problem = f"{PUBLIC_PASSWORDS}, and the roles of an external PostgreSQL would get them"
        found["credentials"] = Conflict(problem, GENERATED)
    encrypted_kafka = settings.kafka.mode == "external" and settings.kafka.external.security_protocol != "PLAINTEXT"
    if settings.dev_tools.enabled and (settings.redis.mode == "external" or encrypted_kafka):
        problem = "is true, but the tools support neither an external Redis nor an encrypted Kafka"
        found.setdefault("devTools.enabled", Conflict(problem, set_to("false")))
    if settings.frontends.deploy and not settings.gateway.enabled:
        problem = "has no effect without the gateway (gateway.enabled), through which users reach front ends"
        found["frontends.deploy"] = Conflict(problem, GATEWAY_OFF)
    if settings.services.local and not settings.gateway.enabled:
        problem = "has no effect without the gateway (gateway.enabled), which routes to local services"
        found.setdefault("services.local", Conflict(problem, GATEWAY_OFF))
    redis_host = settings.redis.external.host
    if settings.gateway.enabled and settings.redis.external.tls and redis_host is not None and _is_address(redis_host):
        problem = "is an IP address, but Kong verifies the TLS certificate by host name and would not start"
        found["redis.external.host"] = Conflict(problem, set_to("HOST_NAME"))
    if settings.monitoring.enabled and not settings.gateway.runs_nginx:
        reason = "without nginx (gateway.enabled, gateway.edge: nginx), which serves the certificate"
        unused = unused_keys(settings.monitoring.thresholds, ["certificate_days"], reason=reason)
        found |= _below("monitoring.thresholds", unused)
    receivers = settings.monitoring.receivers
    if settings.protect and settings.monitoring.enabled and not (receivers.notify_people or receivers.none):
        found["monitoring.receivers"] = Conflict(
            "notifies nobody of alerts, although the stack has protect: true",
            "set webhook: true and the secret alertWebhookUrl, or email.to and email.smarthost; or set none: true, if "
            "nobody should be notified",
        )
    # A wrong number of replicas is reported first.
    replicas_are_right = not any(key.startswith("services.") for key in found)
    accepted, needed = settings.postgres.max_connections, postgres_connections.needed(settings.services)
    if replicas_are_right and not external_postgres and accepted < needed:
        found["postgres.maxConnections"] = postgres_connections.too_few(settings.services)
    return found


def _below(path: str, conflicts: Mapping[str, Conflict]) -> dict[str, Conflict]:
    return {f"{path}.{key}": conflict for key, conflict in conflicts.items()}


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _unsupported_on_kubernetes(settings: Settings) -> dict[str, Conflict]:
    found = {}
    required = "is required with backend.kind 'kubernetes'"
    if settings.kubernetes.kubeconfig is None:
        found["kubernetes.kubeconfig"] = Conflict(required, set_to("FILE"))
    if settings.kubernetes.context is None:
        found["kubernetes.context"] = Conflict(required, set_to("NAME"))
    if settings.credentials == "well-known":
        found["credentials"] = Conflict(f"{PUBLIC_PASSWORDS}, which are for a laptop only", GENERATED)
    if settings.services.local:
        found["services.local"] = Conflict("is not supported: a cluster can't reach a developer's machine", REMOVE)
    if settings.dev_tools.enabled:
        problem = "is not supported on Kubernetes: the tools have no user accounts"
        found["devTools.enabled"] = Conflict(problem, set_to("false"))
    reason = "on Kubernetes: the nodes don't belong to the stack"
    unused = unused_keys(settings.monitoring.exporters, ["node"], reason=reason)
    found |= _below("monitoring.exporters", unused)
    reason = "on Kubernetes: host ports exist on Docker only"
    for path, section, names in _host_ports(settings):
        found |= _below(path, unused_keys(section, names, reason=reason))
    return found


def _host_ports(settings: Settings) -> Iterator[tuple[str, Section, tuple[str, ...]]]:
    """Yield the host ports, which only Docker uses. nginx's ports are also those of its Service."""
    for name, store in settings.stores.items():
        yield from ((f"{to_camel(name)}{path}", section, ("port",)) for path, section, _ in store.host_ports())
    yield "gateway.kong", settings.gateway.kong, ("proxy_port", "tls_port", "admin_port")
    yield "monitoring.prometheus", settings.monitoring.prometheus, ("port",)
    yield "monitoring.alertmanager", settings.monitoring.alertmanager, ("port",)
    yield "monitoring.grafana", settings.monitoring.grafana, ("port",)


def _external_hosts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield key and host of each server outside the stack."""
    for key, host in (
        ("postgres.external.host", settings.postgres.external.host),
        ("redis.external.host", settings.redis.external.host),
    ):
        if host is not None:
            yield key, host
    for server in settings.kafka.external.bootstrap_servers:
        yield "kafka.external.bootstrapServers", server.rpartition(":")[0]


def _unsupported_on_docker(settings: Settings) -> dict[str, Conflict]:
    found = unused_keys(settings, ["kubernetes"], reason="with backend.kind 'docker'")
    pool = settings.backend.network_pool
    for key, host in _external_hosts(settings):
        if within(pool, host):
            problem = f"is {pool}, which contains {host} of {key}: containers would not reach it"
            found["backend.networkPool"] = Conflict(problem, set_to("OTHER_RANGE"))
    if settings.postgres.mode == "cloudnativepg":
        found["postgres.mode"] = Conflict(
            "is not supported on Docker: CloudNativePG needs Kubernetes", set_to("statefulset")
        )
    if settings.kafka.brokers > 1:
        problem = "must be 1 on Docker: one engine is a single point of failure"
        found["kafka.brokers"] = Conflict(problem, set_to("1"))
    if settings.gateway.edge != "nginx":
        problem = "is not supported on Docker: Ingress and Gateway API need Kubernetes"
        found["gateway.edge"] = Conflict(problem, set_to("nginx"))
    if settings.gateway.tls.source != "self-signed":
        problem = "is not supported on Docker: Secrets and cert-manager need Kubernetes"
        found["gateway.tls.source"] = Conflict(problem, set_to("self-signed"))
    reason = "on Docker, which has no Kubernetes objects"
    found |= _below("monitoring.exporters", unused_keys(settings.monitoring.exporters, ["kube_state"], reason=reason))
    if settings.monitoring.prometheus.kubelets:
        problem = "is not supported on Docker, which has no kubelets"
        found["monitoring.prometheus.kubelets"] = Conflict(problem, set_to("false"))
    for key, number, scaling in _replicas(settings):
        problem = "is not supported: Docker runs one replica of each workload"
        if (number or 1) > 1:
            found[f"{key}.replicas"] = Conflict(problem, set_to("1"))
        if scaling is not None:
            found[f"{key}.scaling"] = Conflict(problem, REMOVE)
    return found


def _replicas(settings: Settings) -> Iterator[tuple[str, int | None, Scaling | None]]:
    """Yield each section that has a number of replicas, with its `replicas` and `scaling`."""
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

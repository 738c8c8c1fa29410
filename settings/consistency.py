"""Rules across the sections of a stack's configuration, and settings that a backend doesn't support.

Why a backend doesn't support something is in the table of `capabilities`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from pydantic.alias_generators import to_camel

from capabilities import BACKENDS, Capability, missing_reason
from settings import postgres_connections
from settings.applications import FrontendsSettings, ScalingSettings, ServicesSettings
from settings.backend import within
from settings.base import REMOVE_COMMAND, Conflict, Section, set_command, unused_keys
from settings.models import Settings
from settings.ports import host_port_keys, kong_admin_api, published_ports, runs_nginx

ENABLE_GATEWAY_FIX = "pulumi config set --path pti-calendar:gateway.enabled true; or remove the key: " + REMOVE_COMMAND
GENERATE_CREDENTIALS_COMMAND = set_command("generated")
OTHER_RECOVERY = {
    "external": "a managed server has its own recovery to a point in time",
    "cloudnativepg": "the operator has its own, ScheduledBackup with the plugin barman-cloud and an object store",
}
"""Modes of PostgreSQL in which the stack doesn't archive changes, with the alternative."""

PUBLIC_PASSWORDS_PROBLEM = "contains publicly known passwords"


def conflicts(settings: Settings) -> dict[str, Conflict]:
    """Return the conflicts by configuration key; empty if there is none."""
    found: dict[str, Conflict] = {}
    taken: dict[int, str] = {}
    for key, port in published_ports(settings):
        if port in taken:
            found[key] = Conflict(f"is {port}, which {taken[port]} already uses", set_command("OTHER_PORT"))
        taken.setdefault(port, key)
    if settings.credentials == "well-known" and not settings.backend.bind_address.is_loopback:
        problem = f"{PUBLIC_PASSWORDS_PROBLEM}, and backend.bindAddress publishes the ports beyond this machine"
        found["credentials"] = Conflict(
            problem, f"{GENERATE_CREDENTIALS_COMMAND}; or set backend.bindAddress to 127.0.0.1"
        )
    if settings.gateway.enabled and not kong_admin_api(settings):
        reason = "without the admin API (gateway.kong.adminApi)"
        found |= _with_prefix("gateway.kong", unused_keys(settings.gateway.kong, ["admin_port"], reason=reason))
    if settings.edge.model_fields_set and "enabled" not in settings.gateway.model_fields_set:
        problem = "is not set, although the section edge has settings"
        found["gateway.enabled"] = Conflict(
            problem, f"{set_command('true')} (or false, to keep the settings for later)"
        )
    found |= _unsupported(settings)
    pool = settings.backend.network_pool
    if "network_pool" in BACKENDS[settings.backend.kind].backend_keys:
        hosts = [
            (f"{to_camel(name)}.{key}", host)
            for name, one in settings.stores.items()
            for key, host in one.external_hosts()
        ]
        for key, host in hosts:
            if host is not None and within(pool, host):
                problem = f"is {pool}, which contains {host} of {key}: containers would not reach it"
                found["backend.networkPool"] = Conflict(problem, set_command("OTHER_RANGE"))
    external_postgres = settings.postgres.mode == "external"
    if settings.credentials == "well-known" and external_postgres:
        problem = f"{PUBLIC_PASSWORDS_PROBLEM}, and the roles of an external PostgreSQL would get them"
        found["credentials"] = Conflict(problem, GENERATE_CREDENTIALS_COMMAND)
    encrypted_kafka = settings.kafka.mode == "external" and settings.kafka.external.security_protocol != "PLAINTEXT"
    if settings.dev_tools.enabled and (settings.redis.mode == "external" or encrypted_kafka):
        problem = "is true, but the tools support neither an external Redis nor an encrypted Kafka"
        found.setdefault("devTools.enabled", Conflict(problem, set_command("false")))
    if settings.frontends.deploy and not settings.gateway.enabled:
        problem = "has no effect without the gateway (gateway.enabled), through which users reach front ends"
        found["frontends.deploy"] = Conflict(problem, ENABLE_GATEWAY_FIX)
    if settings.services.local and not settings.gateway.enabled:
        problem = "has no effect without the gateway (gateway.enabled), which routes to local services"
        found.setdefault("services.local", Conflict(problem, ENABLE_GATEWAY_FIX))
    redis_host = settings.redis.external.host
    if settings.gateway.enabled and settings.redis.external.tls and redis_host is not None and _is_address(redis_host):
        problem = "is an IP address, but Kong verifies the TLS certificate by host name and would not start"
        found["redis.external.host"] = Conflict(problem, set_command("HOST_NAME"))
    if settings.monitoring.enabled and not runs_nginx(settings):
        reason = "without nginx (gateway.enabled, edge.kind: nginx), which serves the certificate"
        unused = unused_keys(settings.monitoring.thresholds, ["certificate_days"], reason=reason)
        found |= _with_prefix("monitoring.thresholds", unused)
    if settings.monitoring.enabled and not settings.tenants.enabled:
        reason = "without the audit (tenants.enabled)"
        unused = unused_keys(settings.monitoring.thresholds, ["tenant_audit_hours"], reason=reason)
        found |= _with_prefix("monitoring.thresholds", unused)
    found |= _with_prefix("backups.pointInTime", _point_in_time(settings))
    receivers = settings.monitoring.receivers
    if settings.protect and settings.monitoring.enabled and not (receivers.has_receiver or receivers.none):
        found["monitoring.receivers"] = Conflict(
            "has no receiver of alerts, although the stack has protect: true",
            "set webhook: true and the secret alertWebhookUrl, or email.to and email.smarthost; or set none: true, "
            "if no notifications are wanted",
        )
    # A wrong number of replicas is reported first: the required connections depend on it.
    replicas_are_right = not any(key.startswith("services.") for key in found)
    accepted, needed = settings.postgres.max_connections, postgres_connections.required_connections(settings.services)
    if replicas_are_right and not external_postgres and accepted < needed:
        found["postgres.maxConnections"] = postgres_connections.conflict(settings.services)
    return found


def _point_in_time(settings: Settings) -> dict[str, Conflict]:
    """Return the conflicts of `backups.pointInTime`."""
    section, postgres = settings.backups.point_in_time, settings.postgres
    found: dict[str, Conflict] = {}
    if not section.enabled:
        return found
    if not settings.backups.enabled:
        problem = "is true, but backups.enabled is not: a recovery uses the scripts and the format of the backups"
        found["enabled"] = Conflict(problem, set_command("false"))
    elif reason := OTHER_RECOVERY.get(postgres.mode):
        found["enabled"] = Conflict(
            f"is not supported with postgres.mode '{postgres.mode}': {reason}", set_command("false")
        )
    elif 2 * section.max_wal_gib > postgres.storage_gib:
        problem = f"is more than half of the server's volume ({postgres.storage_gib} GiB, postgres.storageGib)"
        found["maxWalGib"] = Conflict(problem, set_command(str(max(1, postgres.storage_gib // 2))))
    return found


def _with_prefix(path: str, conflicts: Mapping[str, Conflict]) -> dict[str, Conflict]:
    return {f"{path}.{key}": conflict for key, conflict in conflicts.items()}


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _unsupported(settings: Settings) -> dict[str, Conflict]:
    """Return the conflicts with the backend: missing keys, unused ones, and values that need what it doesn't offer."""
    kind, found = settings.backend.kind, dict[str, Conflict]()
    for other, row in BACKENDS.items():
        if row.section is None:
            continue
        if other != kind:
            found |= unused_keys(settings, [row.section], reason=f"with backend.kind '{kind}'")
            continue
        for name, placeholder in row.required.items():
            if getattr(getattr(settings, row.section), name) is None:
                problem = f"is required with backend.kind '{kind}'"
                found[f"{row.section}.{name}"] = Conflict(problem, set_command(placeholder))
    for key, capability, fix in _required_capabilities(settings):
        if missing := missing_reason(kind, capability):
            found[key] = Conflict(f"is not supported {missing}", fix)
    for path, section, names, capability in _keys_by_capability(settings):
        if missing := missing_reason(kind, capability):
            found |= _with_prefix(path, unused_keys(section, names, reason=missing))
    return found


def _required_capabilities(settings: Settings) -> Iterator[tuple[str, Capability, str]]:
    """Yield each key whose value needs a capability of the backend, with the fix."""
    if settings.credentials == "well-known":
        yield "credentials", Capability.WELL_KNOWN_PASSWORDS, GENERATE_CREDENTIALS_COMMAND
    if settings.services.local:
        yield "services.local", Capability.HOST_GATEWAY, REMOVE_COMMAND
    if settings.dev_tools.enabled:
        yield "devTools.enabled", Capability.TOOLS_WITHOUT_LOGIN, set_command("false")
    if settings.postgres.mode == "cloudnativepg":
        yield "postgres.mode", Capability.POSTGRES_OPERATOR, set_command("single")
    if settings.kafka.brokers > 1:
        yield "kafka.brokers", Capability.REPLICAS, set_command("1")
    if settings.edge.kind != "nginx":
        yield "edge.kind", Capability.EDGE, set_command("nginx")
    if settings.gateway.tls.source != "self-signed":
        is_issued = settings.gateway.tls.source == "cert-manager"
        needed = Capability.CERTIFICATES if is_issued else Capability.EXTERNAL_SECRETS
        yield "gateway.tls.source", needed, set_command("self-signed")
    if settings.monitoring.prometheus.scrape_kubelets:
        yield "monitoring.prometheus.scrapeKubelets", Capability.NODE_METRICS, set_command("false")
    for key, number, scaling in _replicas(settings):
        if (number or 1) > 1:
            yield f"{key}.replicas", Capability.REPLICAS, set_command("1")
        if scaling is not None:
            yield f"{key}.scaling", Capability.AUTOSCALING, REMOVE_COMMAND


def _keys_by_capability(settings: Settings) -> Iterator[tuple[str, Section, tuple[str, ...], Capability]]:
    """Yield the keys that have no effect without a capability. nginx's ports are also those of its Service."""
    exporters = settings.monitoring.exporters
    yield "monitoring.exporters", exporters, ("node",), Capability.HOST_METRICS
    yield "monitoring.exporters", exporters, ("kube_state",), Capability.DEPLOYED_OBJECTS
    yield "edge.nginx", settings.edge.nginx, ("load_balancer",), Capability.LOAD_BALANCERS
    for path, section, field, _ in host_port_keys(settings):
        yield path, section, (field,), Capability.HOST_PORTS


def _replicas(settings: Settings) -> Iterator[tuple[str, int | None, ScalingSettings | None]]:
    """Yield each section that has a number of replicas, with its `replicas` and `scaling`."""
    yield "gateway.kong", settings.gateway.kong.replicas, None
    yield "edge.nginx", settings.edge.nginx.replicas, None
    applications: tuple[tuple[str, ServicesSettings | FrontendsSettings], ...] = (
        ("services", settings.services),
        ("frontends", settings.frontends),
    )
    for key, section in applications:
        yield key, section.replicas, section.scaling
        own: Section = section.overrides
        for name, one in own:
            yield f"{key}.overrides.{to_camel(name)}", one.replicas, one.scaling

"""Connection limit of each PostgreSQL role, and the `max_connections` that all of them require."""

from __future__ import annotations

from settings.applications import ServicesSettings
from settings.base import Conflict, set_command
from settings.catalog import SERVICES, ServiceSpec

EXTRA_REPLICAS = 2
"""Replicas in addition to the configured number: one that an update starts, and one that is stopping or whose node is
lost while the server still holds its sessions."""

MIGRATOR_CONNECTIONS = 2
"""Connections of each migrator role: the migration task, and an operator or the previous attempt."""

MONITOR_CONNECTIONS = 5
BACKUP_CONNECTIONS = 10
OPERATOR_CONNECTIONS = 5
"""Connections reserved for superusers, so that operators can always connect."""

RESERVED_CONNECTIONS = MONITOR_CONNECTIONS + BACKUP_CONNECTIONS
"""Connections reserved for the monitor and backup roles, which must work even if services use all others."""


def application_role_limit(services: ServicesSettings, service: ServiceSpec) -> int:
    """Return how many connections a service's application role may open, for all its replicas together."""
    config = services.resolve(service)
    replicas = config.scaling.max_replicas if config.scaling else config.replicas
    return services.pool_max_for(service) * (replicas + EXTRA_REPLICAS)


def required_connections(services: ServicesSettings) -> int:
    """Return how many connections the server must accept so that every role can reach its limit."""
    applications = sum(application_role_limit(services, service) for service in SERVICES)
    return applications + MIGRATOR_CONNECTIONS * len(SERVICES) + RESERVED_CONNECTIONS + OPERATOR_CONNECTIONS


def conflict(services: ServicesSettings) -> Conflict:
    """Return the conflict of a server that accepts too few connections."""
    total, migrators = required_connections(services), MIGRATOR_CONNECTIONS * len(SERVICES)
    applications = total - migrators - RESERVED_CONNECTIONS - OPERATOR_CONNECTIONS
    return Conflict(
        f"is lower than the {total} connections that the roles may open: {applications} for the services "
        f"(databasePoolMax x (maximum number of replicas + {EXTRA_REPLICAS}) each), {migrators} for their migrations, "
        f"{RESERVED_CONNECTIONS} for monitoring and backup, {OPERATOR_CONNECTIONS} for operators",
        f"{set_command(f'{total} (or more)')}; or lower services.databasePoolMax or the replicas",
    )

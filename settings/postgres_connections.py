"""Connection limit of each PostgreSQL role, and the `max_connections` that all of them require."""

from __future__ import annotations

from settings.applications import ServicesSettings
from settings.base import Conflict, set_to
from settings.catalog import SERVICES, ServiceSpec

EXTRA_REPLICAS = 2
"""Replicas in addition to the configured number: one that an update starts, and one that is stopping or whose node is
lost while the server still holds its sessions."""

MIGRATOR = 2
"""Connections of each migrator role: the migration task, and an operator or the previous attempt."""

MONITOR = 5
BACKUP = 10
OPERATORS = 5
"""Connections reserved for superusers, so that operators can always connect."""

RESERVED = MONITOR + BACKUP
"""Connections reserved for the monitor and backup roles, which must work even if services use all others."""


def application(services: ServicesSettings, service: ServiceSpec) -> int:
    """Return how many connections a service's application role may open, for all its replicas together."""
    config = services.resolve(service)
    replicas = config.scaling.max_replicas if config.scaling else config.replicas
    return services.pool_of(service) * (replicas + EXTRA_REPLICAS)


def needed(services: ServicesSettings) -> int:
    """Return how many connections the server must accept so that every role can reach its limit."""
    applications = sum(application(services, service) for service in SERVICES)
    return applications + MIGRATOR * len(SERVICES) + RESERVED + OPERATORS


def too_few(services: ServicesSettings) -> Conflict:
    """Return the conflict of a server that accepts fewer."""
    total, migrators = needed(services), MIGRATOR * len(SERVICES)
    applications = total - migrators - RESERVED - OPERATORS
    return Conflict(
        f"is lower than the {total} connections that the roles may open: {applications} for the services "
        f"(databasePoolMax x (maximum number of replicas + {EXTRA_REPLICAS}) each), {migrators} for their migrations, "
        f"{RESERVED} for monitoring and backup, {OPERATORS} for operators",
        f"{set_to(f'{total} (or more)')}; or lower services.databasePoolMax or the replicas",
    )

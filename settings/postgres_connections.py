"""How many connections each PostgreSQL role may open at once, and how many the server must have for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settings.base import Conflict, set_to
from settings.catalog import SERVICES, Service

if TYPE_CHECKING:
    from settings.applications import Services

MORE_REPLICAS = 2
"""Replicas beside the settings' number: the one more that an update starts, and one that is stopping, or whose node is
lost and whose sessions the server hasn't given up yet."""

MIGRATOR = 2
"""Of each migrator role: the task that migrates, and a person, or the attempt before."""

MONITOR = 5
BACKUP = 10
OPERATORS = 5
"""Kept for superusers: whatever services do, a person gets in."""

RESERVED = MONITOR + BACKUP
"""Kept for the monitor and the backup role: what they see and save matters most when services take all the rest."""


def application(services: Services, service: Service) -> int:
    """What one service's application role may open, all its replicas together."""
    sized = services.of(service)
    replicas = sized.scaling.maximum if sized.scaling else sized.replicas
    return services.pool_of(service) * (replicas + MORE_REPLICAS)


def needed(services: Services) -> int:
    """What the server must accept so that no role can take another one's."""
    applications = sum(application(services, service) for service in SERVICES)
    return applications + MIGRATOR * len(SERVICES) + RESERVED + OPERATORS


def too_few(services: Services) -> Conflict:
    """Return the conflict of a server that accepts fewer."""
    total, migrators = needed(services), MIGRATOR * len(SERVICES)
    applications = total - migrators - RESERVED - OPERATORS
    return Conflict(
        f"is lower than the {total} connections that the roles may open: {applications} for the services "
        f"(databasePoolMax x (maximum of replicas + {MORE_REPLICAS}) each), {migrators} for their migrations, "
        f"{RESERVED} for monitoring and backup, {OPERATORS} for operators",
        f"{set_to(f'{total} (or more)')}; or lower services.databasePoolMax or the replicas",
    )

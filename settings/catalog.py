"""The services of the platform: the one table that databases, roles, routes and documentation follow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Service:
    """One microservice and the database that belongs to it alone."""

    name: str
    """Short name: `user` is run as the User Service."""

    port: int
    """TCP port it listens on."""

    @property
    def database(self) -> str:
        """Its database, and the prefix of its three roles."""
        return f"pti_{self.name}"


SERVICES = (
    Service("user", 4000),
    Service("planning", 4001),
    Service("rdv", 4002),
    Service("payment", 4003),
    Service("notification", 4004),
    Service("admin", 4005),
    Service("audit", 4006),
)

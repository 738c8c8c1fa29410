"""How the rest of the platform gets at the stores, wherever they are."""

from __future__ import annotations

from dataclasses import dataclass

from workloads import Endpoint, External


@dataclass(frozen=True, kw_only=True)
class PostgresServers:
    """PostgreSQL's servers, where there may be several that follow one another."""

    metrics: Endpoint
    """Where each reports its own state."""

    number: int


@dataclass(frozen=True, kw_only=True)
class PostgresAccess:
    """PostgreSQL, for its callers."""

    endpoint: Endpoint | External
    admin: str
    """The superuser that makes databases and roles."""

    ssl_mode: str
    """How connections are encrypted, in libpq's words."""

    server: tuple[str, ...]
    """Workload to wait for before the server answers; none for a managed one."""

    databases: tuple[str, ...]
    """Workload to wait for before the services' databases are there."""

    servers: PostgresServers | None = None
    """None where one server runs, or a managed one."""


@dataclass(frozen=True, kw_only=True)
class RedisAccess:
    """Redis, for its callers."""

    endpoint: Endpoint | External
    tls: bool
    server: tuple[str, ...]
    """Workload to wait for; none for a managed one."""


@dataclass(frozen=True, kw_only=True)
class KafkaAccess:
    """Kafka, for its callers."""

    bootstrap_servers: str
    """`host:port,…` for workloads."""

    published_servers: str
    """`host:port,…` for people and programs beside the platform."""

    calls: tuple[Endpoint | External, ...]
    security_protocol: str
    username: str | None
    server: tuple[str, ...]
    """Workload to wait for; none for a managed one."""

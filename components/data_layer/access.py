"""Connection data of the stores, whether the stack runs them or not."""

from __future__ import annotations

from dataclasses import dataclass

from workloads import Endpoint, External


@dataclass(frozen=True, kw_only=True)
class PostgresServers:
    """PostgreSQL's servers, if there may be replicas."""

    metrics: Endpoint
    """Endpoint at which each server reports its state."""

    number: int


@dataclass(frozen=True, kw_only=True)
class PostgresAccess:
    """Connection data of PostgreSQL."""

    endpoint: Endpoint | External
    admin: str
    """The superuser that creates databases and roles."""

    ssl_mode: str
    """libpq's `sslmode` for connections."""

    server: tuple[str, ...]
    """Workload that must be ready before clients connect; None for a managed server."""

    databases: tuple[str, ...]
    """Workload that must be ready before the services' databases exist."""

    servers: PostgresServers | None = None
    """None for a single server, or a managed one."""


@dataclass(frozen=True, kw_only=True)
class RedisAccess:
    """Connection data of Redis."""

    endpoint: Endpoint | External
    tls: bool
    server: tuple[str, ...]
    """Workload that must be ready first; None for a managed server."""


@dataclass(frozen=True, kw_only=True)
class KafkaAccess:
    """Connection data of Kafka."""

    bootstrap_servers: str
    """`host:port,…` for workloads."""

    published_servers: str
    """`host:port,…` for people and programs outside the platform."""

    calls: tuple[Endpoint | External, ...]
    security_protocol: str
    username: str | None
    server: tuple[str, ...]
    """Workload that must be ready first; None for a managed server."""

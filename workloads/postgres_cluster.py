"""PostgreSQL on several nodes, managed by an operator (`Capability.POSTGRES_OPERATOR`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

from workloads.disk import FixedSetting

METRICS_PORT = 9187
"""Port of the operator's exporter on each server, with metrics of replication, archiving and failover."""


@dataclass(frozen=True, kw_only=True)
class PostgresCluster:
    """A primary and its replicas with automatic failover, managed by the operator."""

    name: str
    image: str
    """Image reference of an operand image, for instance `ghcr.io/cloudnative-pg/postgresql:18.1`."""

    instances: int
    size_gib: int
    memory_mib: int
    shm_mib: int
    """Size of /dev/shm, which counts towards the memory limit."""

    cpu_request: float
    admin_password: pulumi.Input[str]
    """Password of the superuser `postgres` (secret)."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    """Parameters of `postgresql.conf`."""

    operator_namespace: str
    """Namespace of the operator, the source of its probes and commands."""

    fixed: tuple[FixedSetting, ...] = ()
    """Settings that can't change while the cluster's volumes exist, each key once."""

    startup_s: int = 600
    """Seconds until all instances must be ready."""

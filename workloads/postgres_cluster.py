"""PostgreSQL on several nodes, run by an operator of the cluster's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

from workloads.disk import Fixed

METRICS_PORT = 9187
"""Of each server: the operator's own exporter, which knows replication, archiving and failover."""


@dataclass(frozen=True, kw_only=True)
class PostgresCluster:
    """A primary and its replicas with automatic failover, as the CloudNativePG operator runs them."""

    name: str
    image: str
    """Image reference of an operand image, for instance `ghcr.io/cloudnative-pg/postgresql:18.1`."""

    instances: int
    size_gib: int
    memory_mib: int
    shm_mib: int
    """Size of /dev/shm; what is in it counts as memory."""

    cpu_request: float
    admin_password: pulumi.Input[str]
    """Of the superuser `postgres`. Secret."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    """PostgreSQL's own settings."""

    operator_namespace: str
    """Namespace the operator runs in: its probes and commands come from there."""

    fixed: tuple[Fixed, ...] = ()
    """Settings that must stay as they are while its volumes exist, each key once."""

    startup_s: int = 600
    """Seconds until all instances must be ready."""

"""The parameters of PostgreSQL, for each mode in which the stack runs it."""

from __future__ import annotations

from settings.postgres_connections import OPERATOR_CONNECTIONS, RESERVED_CONNECTIONS
from settings.postgres_memory import AUTOVACUUM_WORKERS, PARALLEL_WORKERS
from settings.stores.postgres import PostgresSettings


def parameters(settings: PostgresSettings, kept_wal_gib: int | None = None) -> dict[str, str]:
    """Return the parameters by name. docs/stores.md explains the rules; chapter 19 of PostgreSQL's documentation
    describes each parameter.

    Args:
        settings: the server's settings.
        kept_wal_gib: WAL that the server keeps for replication slots; None: a fifth of its volume.
    """
    return {**_memory(settings), **_connections(settings), **_disk(settings, kept_wal_gib)}


def _memory(settings: PostgresSettings) -> dict[str, str]:
    memory = settings.memory
    return {
        "shared_buffers": f"{memory.shared_buffers_mib}MB",
        "effective_cache_size": f"{settings.memory_mib // 2}MB",
        "work_mem": f"{memory.work_mem_kib}kB",
        "hash_mem_multiplier": "1",
        "maintenance_work_mem": f"{memory.maintenance_work_mem_kib}kB",
        "autovacuum_max_workers": str(AUTOVACUUM_WORKERS),
        "max_worker_processes": str(PARALLEL_WORKERS),
        "max_parallel_workers": str(PARALLEL_WORKERS),
        "max_parallel_workers_per_gather": str(memory.parallel_workers),
        "max_parallel_maintenance_workers": str(memory.parallel_workers),
        # JIT-compiled queries take tens of MiB per session, which no parameter limits.
        "jit": "off",
        # A container may see the node's huge pages without being allowed to use one (docker-library/postgres#451).
        "huge_pages": "off",
    }


def _connections(settings: PostgresSettings) -> dict[str, str]:
    """Return the parameters that end the session of a lost client after 40 s."""
    return {
        "max_connections": str(settings.max_connections),
        "superuser_reserved_connections": str(OPERATOR_CONNECTIONS),
        "reserved_connections": str(RESERVED_CONNECTIONS),
        "tcp_keepalives_idle": "20s",
        "tcp_keepalives_interval": "5s",
        "tcp_keepalives_count": "4",
        "tcp_user_timeout": "40s",
        "client_connection_check_interval": "5s",
    }


def _disk(settings: PostgresSettings, kept_wal_gib: int | None) -> dict[str, str]:
    """Return the limits of WAL and temporary files, and of the WAL that a crash leaves to replay."""
    tenth_mib = settings.storage_gib * 1024 // 10
    return {
        "max_wal_size": f"{min(1024, tenth_mib)}MB",
        "min_wal_size": "80MB",
        "checkpoint_timeout": "5min",
        # A consumer that is away for longer loses its slot, which would otherwise retain WAL until the volume is full.
        "max_slot_wal_keep_size": f"{2 * tenth_mib if kept_wal_gib is None else 1024 * kept_wal_gib}MB",
        # This limit applies to each session: a query that needs larger temporary files fails.
        "temp_file_limit": f"{tenth_mib}MB",
    }

"""How PostgreSQL's memory is divided: everything is derived from `postgres.memoryMib` and `postgres.maxConnections`.

The division is safe in the worst case: all connections are open and each uses its maximum for sorts or hashes, while
every autovacuum worker and every service's migration uses its maximum for maintenance. The page cache uses the
rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from settings.catalog import SERVICES

AUTOVACUUM_WORKERS = 3
PARALLEL_WORKERS = 8
OTHER_PROCESSES = 10
"""Upper limit for checkpointer, background writer, WAL writer, launchers, I/O workers and the postmaster."""

PROCESS_MIB = 2.0
"""Private memory of a server process. Measured on PostgreSQL 15 and 18: 1.5 MiB after a few queries, and 0.04 MiB more
for each table that prepared statements use."""

PAGE_TABLE_SHARE = 1 / 512
"""Size of a process' page table relative to the shared buffers: 8 bytes per 4 KiB, once it has accessed all of them."""

FIXED_MIB = 48
"""Smaller shared memory areas of the server, sockets, and the processes of probes."""

SHARED_PER_BUFFER = 0.03
SHARED_PER_CONNECTION_MIB = 0.08
"""Shared memory in addition to the shared buffers (`postgres -C shared_memory_size`), rounded up."""

MIN_WORK_MEM_KIB = 512
"""Minimum work memory: with less, even small sorts use the disk."""

PARALLEL_WORK_MIB = 4
"""Work memory that each process must be allowed to use before parallel queries are enabled."""

MAX_SHARED_BUFFERS_MIB = 16 * 1024
MAX_MAINTENANCE_MIB = 1024
MAX_WORK_MEM_MIB = 64


@dataclass(frozen=True, kw_only=True)
class Memory:
    """How the memory of one server is divided."""

    shared_buffers_mib: int
    maintenance_work_mem_kib: int
    """Maximum memory of each autovacuum worker and each index build."""

    work_mem_kib: int
    """Maximum memory of each sort and each hash table."""

    parallel_workers: int
    """Maximum number of parallel workers per query."""

    shm_mib: int
    """Size of /dev/shm, through which the processes of one query share hash tables."""

    connections: int

    @property
    def session_kib(self) -> int:
        """Return how much memory one session may use for sorts and hashes, all processes together.

        Shared memory doubles in size as it grows, so half of it may be empty.
        """
        return self.work_mem_kib * (2 * (self.parallel_workers + 1) if self.parallel_workers else 1)

    @property
    def worst_case_mib(self) -> float:
        """Return how much memory the server uses if every part is in use at the same time."""
        return (
            _base_mib(self.shared_buffers_mib, self.maintenance_work_mem_kib, self.connections)
            + self.connections * self.session_kib / 1024
        )


def divide(memory_mib: int, connections: int, *, reserved_mib: int = 0) -> Memory:
    """Divide a memory limit, of which `reserved_mib` belong to other programs.

    `fits` returns whether a valid division exists; otherwise the worst case exceeds the limit.
    """
    own_mib = memory_mib - reserved_mib
    buffers = min(own_mib // 4, MAX_SHARED_BUFFERS_MIB)
    maintenance = min(own_mib * 1024 // 100, MAX_MAINTENANCE_MIB * 1024)
    left_kib = (own_mib - _base_mib(buffers, maintenance, connections)) * 1024
    session_kib = int(left_kib / connections)
    parallel = next((more for more in (2, 1) if session_kib / (2 * (more + 1)) >= PARALLEL_WORK_MIB * 1024), 0)
    share = session_kib // (2 * (parallel + 1)) if parallel else session_kib
    work = max(MIN_WORK_MEM_KIB, min(share, MAX_WORK_MEM_MIB * 1024))
    return Memory(
        shared_buffers_mib=buffers,
        maintenance_work_mem_kib=maintenance,
        work_mem_kib=work,
        parallel_workers=parallel,
        shm_mib=max(64, int(left_kib / 1024)),
        connections=connections,
    )


def fits(memory_mib: int, connections: int, *, reserved_mib: int = 0) -> bool:
    """Return whether the worst case stays within the limit."""
    return divide(memory_mib, connections, reserved_mib=reserved_mib).worst_case_mib <= memory_mib - reserved_mib


def min_memory_mib(connections: int, *, reserved_mib: int = 0) -> int:
    """Return the smallest limit for a number of connections, in steps of 64 MiB."""
    memory_mib = 64 * math.ceil((reserved_mib + 64) / 64)
    while not fits(memory_mib, connections, reserved_mib=reserved_mib):
        memory_mib += 64
    return memory_mib


def _base_mib(buffers_mib: int, maintenance_kib: int, connections: int) -> float:
    """Return the worst case without the memory for sorts and hashes."""
    processes = connections + AUTOVACUUM_WORKERS + PARALLEL_WORKERS + OTHER_PROCESSES
    return (
        FIXED_MIB
        + buffers_mib * (1 + SHARED_PER_BUFFER)
        + connections * SHARED_PER_CONNECTION_MIB
        + processes * (PROCESS_MIB + buffers_mib * PAGE_TABLE_SHARE)
        + (AUTOVACUUM_WORKERS + len(SERVICES)) * maintenance_kib / 1024
    )

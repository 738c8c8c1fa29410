"""Resident memory of a running stack per container, next to the limit.

    python -m benchmarks.memory [--stack dev]

It counts memory that the kernel can't reclaim: anonymous memory (`rss` of the first cgroup version, `anon` of the
second) and shared memory (`shmem`: PostgreSQL's buffers, and files on tmpfs). The kernel can reclaim the page cache, so
it is shown separately.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from benchmarks.report import machine
from tests.engine import docker_engine

LIMIT_MIB = 2048
MIB = 1024 * 1024
STATISTICS = "cat /sys/fs/cgroup/memory.stat 2>/dev/null || cat /sys/fs/cgroup/memory/memory.stat"


@dataclass(frozen=True)
class Memory:
    """Memory of one container."""

    workload: str
    anonymous_mib: float
    shared_mib: float
    cache_mib: float
    """Page cache without shared memory."""

    @property
    def resident_mib(self) -> float:
        """Return anonymous and shared memory."""
        return self.anonymous_mib + self.shared_mib


def measured(stack: str) -> list[Memory]:
    """Return every running container of the stack."""
    return [
        _memory(one["Config"]["Labels"][docker_engine.WORKLOAD_LABEL], one["Id"])
        for one in docker_engine.containers(stack)
        if one["State"]["Running"]
    ]


def total_mib(found: list[Memory]) -> float:
    """Return the resident memory of all containers."""
    return sum(one.resident_mib for one in found)


def main() -> int:
    """Print the table. Exit code 1 if the stack isn't up."""
    parser = argparse.ArgumentParser(description="Measures the resident memory of a running stack.")
    parser.add_argument("--stack", default="dev", help="the stack's name (default: %(default)s)")
    stack = parser.parse_args().stack
    found = measured(stack)
    if not found:
        print(f"Stack '{stack}' has no containers. Bring it up: make up STACK={stack}", file=sys.stderr)
        return 1
    print(machine())
    print(f"{'workload':18}{'resident':>10}{'shared':>14}{'page cache':>12}   (MiB)")
    for one in sorted(found, key=lambda memory: -memory.resident_mib):
        print(f"{one.workload:18}{one.resident_mib:10.0f}{one.shared_mib:14.0f}{one.cache_mib:12.0f}")
    total = total_mib(found)
    print(f"{'total':18}{total:10.0f}   limit: less than {LIMIT_MIB} MiB; {total / LIMIT_MIB:.0%} of it")
    return 0


def _memory(workload: str, container: str) -> Memory:
    lines = docker_engine.docker("exec", container, "sh", "-c", STATISTICS).splitlines()
    fields = {name: int(value) / MIB for name, value in (line.split() for line in lines)}
    shared = fields["shmem"]
    second_version = "anon" in fields
    anonymous = fields["anon"] if second_version else fields["rss"]
    return Memory(workload, anonymous, shared, (fields["file"] if second_version else fields["cache"]) - shared)


if __name__ == "__main__":
    sys.exit(main())

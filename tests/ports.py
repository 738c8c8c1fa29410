"""Free ports for the servers that tests start."""

from __future__ import annotations

import os
import random
import socket

WORKER_PORTS = 1000
WORKERS = 4
"""`make test` starts at most this many workers."""


def candidates(worker: str | None) -> range:
    """Return the ports of a worker of pytest-xdist, such as `gw0`, or of a process without workers.

    A chosen port is free until its server binds it, so suites that run at the same time draw from different ranges.
    """
    if worker is None:
        return range(20_000, 30_000 - WORKERS * WORKER_PORTS)
    first = 30_000 - WORKER_PORTS * (1 + int(worker.removeprefix("gw")) % WORKERS)
    return range(first, first + WORKER_PORTS)


def free_ports(count: int) -> list[int]:
    """Return free loopback ports.

    They lie outside the range of node ports and of outgoing connections, where another process could be given the port
    of a server that a test stops and starts again.
    """
    found: set[int] = set()
    while len(found) < count:
        port = random.choice(candidates(os.environ.get("PYTEST_XDIST_WORKER")))  # noqa: S311 - no secret
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.add(port)
    return list(found)


def free_port() -> int:
    """Return one free loopback port."""
    (port,) = free_ports(1)
    return port

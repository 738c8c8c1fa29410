"""Free ports for the servers that tests start."""

from __future__ import annotations

import random
import socket


def free_ports(count: int) -> list[int]:
    """Return free loopback ports.

    They lie outside the range of node ports and of outgoing connections, where another process could be given the port
    of a server that a test stops and starts again.
    """
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(20_000, 30_000)  # noqa: S311 - no secret
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

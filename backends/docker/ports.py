"""Checks that the host ports of a stack are free."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

import pulumi

from backends.docker.engine import Engine, EngineError
from settings.base import for_stack


class PortsTaken(pulumi.RunError):
    """Another process uses a host port of the stack."""


def check(ports: Iterable[tuple[str, int]], *, engine: Engine, stack: str, address: str) -> None:
    """Check that no other process uses the ports. Ports of the stack's own containers don't count.

    The check is skipped if the engine runs on another machine, or doesn't respond (a preview needs no engine).

    Raises:
        PortsTaken: in an update. A preview warns.
    """
    if not engine.is_local:
        return
    try:
        taken = taken_ports(ports, engine=engine, stack=stack, address=address)
    except EngineError:
        return
    if not taken:
        return
    message = "\n".join(
        [
            "Host ports of this stack are used by other programs; nothing has been changed.",
            *(
                f"  {address}:{port}: stop the process that uses it (sudo lsof -nP -iTCP:{port} -sTCP:LISTEN), "
                f"or set another port: pulumi config set --path 'pti-calendar:{key}' "
                f"{port + 10_000 if port < 50_000 else port - 10_000}"
                for key, port in taken
            ),
        ]
    )
    if not pulumi.runtime.is_dry_run():
        raise PortsTaken(message)
    pulumi.log.warn(for_stack(message, stack))


def taken_ports(ports: Iterable[tuple[str, int]], *, engine: Engine, stack: str, address: str) -> list[tuple[str, int]]:
    """Return the ports that other processes use, with their keys. Ports of the stack's own containers don't count.

    Raises:
        EngineError: the engine doesn't respond.
    """
    own = engine.published_ports(stack)
    return [(key, port) for key, port in ports if port not in own and is_bound(address, port)]


def is_bound(address: str, port: int) -> bool:
    """Return whether a process of this machine listens on the port."""
    with socket.socket() as probe:
        # A connection that was just closed doesn't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            # The engine reports other errors itself: it may be allowed to bind ports below 1024, and addresses of its
            # own machine.
            return error.errno == errno.EADDRINUSE
    return False

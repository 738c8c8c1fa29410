"""Checks that no other program uses the stack's host ports."""

from __future__ import annotations

from collections.abc import Iterator

from operations.doctor.context import Context
from operations.doctor.finding import Finding
from settings.base import NAMESPACE
from settings.ports import published_ports


def taken_ports(context: Context) -> Iterator[Finding]:
    """Yield an error if other programs use host ports of the stack."""
    taken = context.runtime.taken_ports(context.stack, [*published_ports(context.settings)])
    update = f"make up STACK={context.stack}"
    if len(taken) == 1:
        ((key, port),) = taken
        other = port + 10_000 if port < 50_000 else port - 10_000
        yield Finding(
            "error",
            f"port {port}",
            f"Another program uses the host port {port} ({key}).",
            f"Stop it (sudo lsof -nP -iTCP:{port} -sTCP:LISTEN), or choose another port: "
            f"pulumi config set --path '{NAMESPACE}:{key}' {other}. Then: {update}",
        )
    elif taken:
        ports = ", ".join(f"{port} ({key})" for key, port in taken)
        yield Finding(
            "error",
            "host ports",
            f"Other programs, maybe another stack, use these host ports: {ports}.",
            f"Stop them (docker ps; sudo lsof -nP -iTCP -sTCP:LISTEN), then: {update}. "
            "Or run a second stack on free ports: make beside STACK=NAME",
        )

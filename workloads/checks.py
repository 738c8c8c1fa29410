"""Probes of containers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class HttpGet:
    """Succeeds if `http://localhost:{port}{path}` returns a status below 400."""

    port: int
    path: str


@dataclass(frozen=True, kw_only=True)
class TcpConnect:
    """Succeeds if the TCP port accepts a connection."""

    port: int


@dataclass(frozen=True, kw_only=True)
class Exec:
    """Succeeds if the command, run in the container, exits with 0."""

    command: tuple[str, ...]


Check = HttpGet | TcpConnect | Exec


RECOVERY_S = 86_400
"""`Liveness.startup_s` of a store, which recovers its data before it answers: a day, in practice no limit.

A recovery that is ended begins again from the start, so a limit never helps. A process that hangs is for a person.
"""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The readiness probe: while it succeeds, dependents start and callers connect. It never kills a process."""

    check: Check
    """Of a store that recovers its data, it prints a line that ends in its progress (`recovering: 43 %`). The update
    shows it."""

    startup_s: int = 60
    """Seconds an update waits for the first answer before it fails; the process goes on."""

    period_s: int = 5
    timeout_s: int = 3
    failures: int = 3
    """Consecutive failures after which it counts as not ready."""


@dataclass(frozen=True, kw_only=True)
class Liveness:
    """The startup and liveness probe: a process that fails it is restarted.

    Ask the process alone and never what it depends on: a lost database must not restart every service.
    """

    check: Check
    startup_s: int = 300
    """Seconds the process may take from its start to the first answer before it is started anew. Until then no other
    limit applies. `RECOVERY_S` for a store."""

    period_s: int = 10
    timeout_s: int = 5
    failures: int = 6
    """Consecutive failures, after the first answer, after which it is restarted."""

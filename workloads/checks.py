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
"""`Liveness.startup_s` of a store, which recovers its data before it responds: a day, in practice no limit.

An interrupted recovery starts over, so a limit never helps. An operator must handle a store that hangs.
"""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The readiness probe: while it succeeds, dependents start and callers connect. It never kills a process."""

    check: Check
    """While a store recovers its data, the probe prints a line that ends in the progress (`recovering: 43 %`). The
    update shows it."""

    startup_s: int = 60
    """Seconds an update waits for the first success before it fails. The process keeps running."""

    period_s: int = 5
    timeout_s: int = 3
    failures: int = 3
    """Consecutive failures after which the workload counts as not ready."""


@dataclass(frozen=True, kw_only=True)
class Liveness:
    """The startup and liveness probe: a process that fails it is restarted.

    Check only the process, never its dependencies: the outage of a database must not restart every service.
    """

    check: Check
    startup_s: int = 300
    """Seconds from the start of the process to its first success, after which it is restarted. Until then no other
    limit applies. Use `RECOVERY_S` for a store."""

    period_s: int = 10
    timeout_s: int = 5
    failures: int = 6
    """Consecutive failures, after the first success, after which it is restarted."""

"""How a platform finds out whether a container serves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class HttpGet:
    """Answers when `http://localhost:{port}{path}` gives a status below 400."""

    port: int
    path: str


@dataclass(frozen=True, kw_only=True)
class TcpConnect:
    """Answers when the TCP port accepts a connection."""

    port: int


@dataclass(frozen=True, kw_only=True)
class Exec:
    """Answers when the command, run in the container, exits with 0."""

    command: tuple[str, ...]


Check = HttpGet | TcpConnect | Exec


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The startup and readiness probe: dependents start, and callers are sent, once it answers."""

    check: Check
    startup_s: int = 60
    """Seconds the first answer may take before the update fails."""

    period_s: int = 5
    timeout_s: int = 3
    failures: int = 3
    """Consecutive failures after which it counts as not ready."""


@dataclass(frozen=True, kw_only=True)
class Liveness:
    """A process that has started and then fails this is started anew.

    Ask the process alone and never what it depends on: a lost database must not restart every service.
    """

    check: Check
    period_s: int = 10
    timeout_s: int = 5
    failures: int = 6
    """Consecutive failures after which it is started anew."""

"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from operations.project import OperationError

Severity = Literal["error", "unchecked", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a stack, or that couldn't be checked."""

    severity: Severity
    """`error`: something doesn't work, or is about to stop. `unchecked`: unknown. `warning`: everything works."""

    subject: str
    """What has the problem, for instance a workload."""

    problem: str
    fix: str
    """What to do."""

    output: str = ""
    """Last lines of a log, or output of a check. It may contain secrets, so it is masked before it is shown."""

    effect_of: str = ""
    """Subject whose error causes this one; then this one isn't shown."""


class CommandFailed(OperationError):
    """A command in a container has failed. The message is its output, which may contain secrets."""


def unchecked(subject: str, error: OperationError, fix: str, effect_of: str = "") -> Finding:
    """Return the finding that something couldn't be checked."""
    problem = "This could not be checked"
    if isinstance(error, CommandFailed):
        return Finding("unchecked", subject, f"{problem}.", fix, str(error), effect_of)
    return Finding("unchecked", subject, f"{problem}: {error}", fix, effect_of=effect_of)


@dataclass(frozen=True)
class Instance:
    """A running container or pod with persistent volumes, or one that the checks run commands in."""

    workload: str
    name: str
    """Name of the container or pod."""

    container: str = ""
    """Container of the pod."""

    volumes: tuple[tuple[str, str], ...] = ()
    """Name and path of each persistent volume."""

    is_primary: bool = True
    """Whether it is the primary of a replicated store, or the store isn't replicated."""


@dataclass(frozen=True)
class ClockOffset:
    """How far the clock of the engine or the API server is ahead of this machine's."""

    seconds: float
    uncertainty_s: float

"""The locks of updates in the project's own state: which process holds one, and whether it still runs.

Locks of other state backends are not read.
"""

from __future__ import annotations

import json
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from operations.project import PROJECT, STATE


@dataclass(frozen=True)
class Lock:
    """The lock of one update."""

    file: Path
    pid: int | None
    """Process that holds it, on this machine; None if the file doesn't name it, or names another machine."""

    def is_dead(self) -> bool:
        """Whether the update that holds it has ended; False where that can't be known."""
        return self.pid is not None and not _runs_pulumi(self.pid)

    def is_alive(self) -> bool:
        """Whether the update that holds it runs on this machine."""
        return self.pid is not None and _runs_pulumi(self.pid)


def locks(stack: str) -> list[Lock]:
    """The locks of a stack."""
    files = sorted((STATE / ".pulumi" / "locks").glob(f"**/{PROJECT}/{stack}/*.json"))
    return [Lock(file, _holder(file)) for file in files]


def _holder(file: Path) -> int | None:
    try:
        holder = json.loads(file.read_text())
        return int(holder["pid"]) if holder["hostname"] == socket.gethostname() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _runs_pulumi(pid: int) -> bool:
    """Whether a process is an update: not gone, not dead and uncollected, not another program under that number."""
    try:
        listed = subprocess.run(["ps", "-o", "stat=,comm=", "-p", str(pid)], capture_output=True, text=True)
    except OSError:
        return True
    found = listed.stdout.split()
    return bool(found) and not found[0].startswith("Z") and "pulumi" in found[-1]

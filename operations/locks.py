"""Update locks in the project's local state: which process holds one, and whether it still runs.

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
    """Process on this machine that holds the lock; None if the lock file names none, or another machine."""

    def is_stale(self) -> bool:
        """Return whether the update that holds it has ended; False if unknown."""
        return self.pid is not None and not _runs_pulumi(self.pid)

    def is_held(self) -> bool:
        """Return whether the update that holds it runs on this machine."""
        return self.pid is not None and _runs_pulumi(self.pid)


def locks(stack: str) -> list[Lock]:
    """Return the locks of a stack."""
    files = sorted((STATE / ".pulumi" / "locks").glob(f"**/{PROJECT}/{stack}/*.json"))
    return [Lock(file, _holder(file)) for file in files]


def _holder(file: Path) -> int | None:
    try:
        holder = json.loads(file.read_text())
        return int(holder["pid"]) if holder["hostname"] == socket.gethostname() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _runs_pulumi(pid: int) -> bool:
    """Return whether a process is a running Pulumi: not a zombie, and not another program that reuses the PID."""
    try:
        listed = subprocess.run(["ps", "-o", "stat=", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True)
    except OSError:
        return True
    found = listed.stdout.split()
    # macOS lists the program's path.
    return bool(found) and not found[0].startswith("Z") and "pulumi" in Path(found[-1]).name

"""Peak memory of child processes by program. Linux only, because it reads /proc."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

PERIOD_S = 0.1
"""Interval between two samples. The kernel keeps each process's peak, so only growth after the last sample is
missed."""

PROGRAM, ENGINE = "pulumi-language-python-exec", "pulumi"
"""Process names of the Python program and of Pulumi's engine."""


class PeakMemory:
    """Measure while the context is active.

    `mib` then maps program names to the peak resident memory in MiB of the largest such process.
    """

    def __init__(self) -> None:
        self.mib: dict[str, float] = {}
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._sample_repeatedly, daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._watch.join()

    def _sample_repeatedly(self) -> None:
        while not self._over.wait(PERIOD_S):
            for process in _descendants(os.getpid()):
                name, mib = _name(process), _peak_mib(process)
                self.mib[name] = max(mib, self.mib.get(name, 0))


def _descendants(ancestor: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        if found := _read(directory / "stat"):
            parent = int(found.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(directory.name))
    found_so_far, ahead = [], [ancestor]
    while ahead:
        below = children.get(ahead.pop(), [])
        found_so_far += below
        ahead += below
    return found_so_far


def _name(process: int) -> str:
    """Return the program's file name; for a script, the script's."""
    words = _read(Path(f"/proc/{process}/cmdline")).split("\0")
    names = [word.rpartition("/")[2] for word in words]
    return names[1] if len(names) > 1 and names[0].startswith("python") else names[0]


def _peak_mib(process: int) -> float:
    lines = _read(Path(f"/proc/{process}/status")).splitlines()
    kib = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
    return kib / 1024


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # The process has ended.
        return ""

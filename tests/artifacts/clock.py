"""A wall clock that processes share and that a test sets while they run, by Debian's package `faketime`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
"""The library that intercepts the processes' calls; empty if the package isn't installed."""


class Clock:
    """The wall clock of the processes that run with `environment`. Their monotonic clock doesn't change."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set_ahead(0)
        self.environment = {
            # Use libc's malloc instead of Redis' jemalloc, which reads the time while the library is initialised.
            "LD_PRELOAD": f"{LIBRARIES[0]} libc.so.6",
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    @property
    def prefix(self) -> list[str]:
        """Return the command that runs another one with `environment`."""
        return ["env", *(f"{name}={value}" for name, value in self.environment.items())]

    def set_ahead(self, seconds: int) -> None:
        """Set the clock to the machine's time plus these seconds."""
        partial = self._file.with_suffix(".new")
        partial.write_text(f"+{seconds}\n")
        partial.chmod(0o644)  # PostgreSQL runs as another user.
        partial.rename(self._file)


@contextmanager
def running_clock() -> Iterator[Clock]:
    """Provide a clock that every user can read."""
    with tempfile.TemporaryDirectory(prefix="pti-clock-") as home:
        Path(home).chmod(0o755)
        yield Clock(Path(home) / "clock")
    # A killed process leaves these files. They keep a process with the same PID and another user from starting.
    for leftover in Path("/dev/shm").glob("*faketime_s*_*"):  # noqa: S108 - the library's own files
        if not Path("/proc", leftover.name.rpartition("_")[2]).exists():
            leftover.unlink(missing_ok=True)

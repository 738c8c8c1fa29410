"""The cluster's processes: started in the background with a log file each, found again by a later run, and stopped
reliably."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from testbed.cluster.constants import LOG_DIRECTORY, ROOT

PID_DIRECTORY = ROOT / "run"
DEADLINE_S = 90.0
STOP_TIMEOUT_S = 5.0
"""Time for a process to exit before it is killed."""

_LOG_LINES = 25


class ClusterError(RuntimeError):
    """A cluster operation failed; the message ends with the log of the failed component."""


def start(name: str, *command: str | Path, environment: Mapping[str, str] | None = None) -> None:
    """Start a process unless it is running. It survives this program; its output goes to `log/<name>.log`."""
    if pid_of(name):
        return
    PID_DIRECTORY.mkdir(parents=True, exist_ok=True)
    LOG_DIRECTORY.mkdir(parents=True, exist_ok=True)
    with (LOG_DIRECTORY / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
            cwd="/",
        )
    # The start time distinguishes the process from a later one with the same ID.
    _pid_file(name).write_text(f"{process.pid} {_start_time(process.pid)}")


def pid_of(name: str) -> int | None:
    """Return the ID of the process if it is running and was started here."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        pid, started = _pid_file(name).read_text().split()
        if _start_time(int(pid)) == started:
            return int(pid)
    return None


def names() -> list[str]:
    """Return the names of all processes that were started and not stopped."""
    return sorted(one.stem for one in PID_DIRECTORY.glob("*.pid"))


def stop(*parts: str) -> None:
    """Stop processes together and wait for their end; kill those that don't exit."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        pids = [pid for part in parts if (pid := pid_of(part))]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_number)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while any(map(pid_of, parts)) and time.monotonic() < deadline:
            for pid in pids:
                _reap(pid)
            time.sleep(0.02)
    for part in parts:
        _pid_file(part).unlink(missing_ok=True)


def wait_until(condition: Callable[[], bool], what: str, by: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition that depends on the process `by`; if the process exits or time runs out, raise an error with
    its log."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        if pid_of(by) is None:
            raise ClusterError(f"{by} ended before {what}\n{tail(by)}")
        if time.monotonic() > deadline:
            raise ClusterError(f"{by} ran for {deadline_s:g} s, but not until {what}\n{tail(by)}")
        time.sleep(0.1)


def log_contains(name: str, text: str) -> bool:
    """Return whether a process' log contains the text since its last start."""
    return text in (LOG_DIRECTORY / f"{name}.log").read_text(errors="replace")


def tail(name: str) -> str:
    """Return the last lines of a process' log, below the log's path."""
    log = LOG_DIRECTORY / f"{name}.log"
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.exists() else ["(no log)"]
    return "\n".join([f"{log}:", *lines])


def succeeds(*command: str | Path) -> bool:
    """Return whether a command exists and exits with 0; its output is discarded."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run([str(part) for part in command], capture_output=True, check=False).returncode == 0


def run(*command: str | Path, text: str | None = None) -> str:
    """Run a command and return its output; a failure is an error with the reason."""
    parts = [str(part) for part in command]
    done = subprocess.run(parts, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(parts)} failed ({done.returncode}):\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def _pid_file(name: str) -> Path:
    return PID_DIRECTORY / f"{name}.pid"


def _start_time(pid: int) -> str | None:
    """Return the start time in clock ticks since boot, or nothing for a process that has ended, including zombies."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else rest[18]


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)

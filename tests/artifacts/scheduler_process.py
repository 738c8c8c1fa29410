"""`assets/schedule/scheduler.sh` as a process, with a clock that a test can set."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "assets" / "schedule" / "scheduler.sh"

WAIT_S = 60.0
"""Seconds that a test waits for a line of a log, or for the end of a process."""

# Functions, because BusyBox prefers its own commands to those on PATH.
CLOCK = """
date() {{
    [ "$*" = +%s ] || exit 2
    echo >>{polls}
    read -r offset <{offset}
    echo $(($(command date +%s) + offset))
}}
"""

FAST_POLLS = "sleep() { command sleep 0.1; }"
"""Replaces the pauses of 30 s between two polls of the clock, and of 1 s between two polls of a run."""

ENDLESS_PAUSES = "sleep() { command sleep 3600; }"
"""Replaces the pauses by one that only a signal ends."""

SHELLS: Mapping[str, list[str]] = {"sh": ["sh"]} | ({"busybox": ["busybox", "sh"]} if shutil.which("busybox") else {})
"""Shells that execute the script: Debian's and, if it is installed, BusyBox's with its own commands."""


class Scheduler:
    """A scheduler's directory, log and processes.

    Args:
        directory: empty directory.
        shell: key of `SHELLS`.
    """

    def __init__(self, directory: Path, shell: str = "sh") -> None:
        self.directory = directory
        self.state = directory / "state"
        self._shell = SHELLS[shell]
        self._offset = directory / "clock-offset"
        self._log = directory / "log"
        self._log.touch()
        self._polls = directory / "polls"
        self._polls.touch()
        self.pauses = FAST_POLLS
        self.set_offset(0)

    def configure(
        self,
        command: str,
        schedule: str = "30 2 * * *",
        *,
        deadline_s: int = 3600,
        timeout_s: int = 60,
        grace_s: int = 5,
    ) -> None:
        """Set the task: a line of shell, which runs in the scheduler's directory."""
        script = f"cd {shlex.quote(str(self.directory))} || exit; {command}"
        (self.directory / "task.sh").write_text(
            f"schedule={shlex.quote(schedule)}\nstart_deadline_s={deadline_s}\ntimeout_s={timeout_s}\n"
            f"stop_grace_s={grace_s}\nstate_dir={shlex.quote(str(self.state))}\n"
            f'with_task() {{ "$@" sh -c {shlex.quote(script)}; }}\n'
        )

    def set_clock(self, hour: int, minute: int = 0, *, day: int = 10, second: int = 0) -> None:
        """Set the clock to a time in June 2026, UTC."""
        wanted = datetime(2026, 6, day, hour, minute, second, tzinfo=UTC).timestamp()
        self.set_offset(int(wanted) - int(time.time()))

    def set_offset(self, seconds: int) -> None:
        """Set the difference between the scheduler's clock and the machine's."""
        new = self._offset.with_suffix(".new")
        new.write_text(f"{seconds}\n")
        new.rename(self._offset)

    @contextmanager
    def serving(self, *, ends_container: bool = True) -> Iterator[subprocess.Popen[bytes]]:
        """Run the scheduler, which has to end by SIGTERM, unless the test has killed it. Then kill what it has left."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(self._command("serve"), stdout=log, stderr=log)
        try:
            self.wait_for_log("waiting for", count=self.log.count("waiting for") + 1, of=process)
            yield process
            process.terminate()
            code = process.wait(WAIT_S)
        finally:
            process.kill()
            process.wait()
            if ends_container:
                self.end_container()
        assert code in (0, -signal.SIGKILL), self.log

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call the script while the scheduler runs."""
        return subprocess.run(self._command(*arguments), capture_output=True, text=True, timeout=WAIT_S)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a call of the script."""
        return subprocess.Popen(
            self._command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def log(self) -> str:
        """What the scheduler and its runs have written."""
        return self._log.read_text()

    @property
    def runs(self) -> list[str]:
        """The lines that the task appended to the file `runs`."""
        file = self.directory / "runs"
        return file.read_text().splitlines() if file.exists() else []

    def wait_for_log(self, text: str, *, count: int = 1, of: subprocess.Popen[bytes] | None = None) -> None:
        """Wait until the log contains the text that often."""
        wait_until(
            lambda: self.log.count(text) >= count or (of is not None and of.poll() is not None),
            lambda: f"no {text!r} in:\n{self.log}",
        )
        assert self.log.count(text) >= count, self.log

    def wait_for_polls(self) -> None:
        """Wait until the scheduler has read the clock several times."""
        before = self._polls.stat().st_size
        wait_until(lambda: self._polls.stat().st_size >= before + 4, lambda: f"the scheduler hangs:\n{self.log}")

    def task_processes(self) -> list[int]:
        """The processes of the task: those whose current directory is the scheduler's."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").readlink() == self.directory:
                    found.append(int(process.name))
            except OSError:
                continue
        return found

    def wait_for_the_end_of_all_processes(self) -> None:
        """Wait until the task has no process. One that is killed exists for a moment."""
        wait_until(lambda: self.task_processes() == [], lambda: f"{self.task_processes()} still run")

    def kill_task(self) -> None:
        """Kill the processes of the task."""
        for process in self.task_processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def end_container(self) -> None:
        """Kill the processes that a killed scheduler has left, also those that are about to start."""

        def is_ended() -> bool:
            self.kill_task()
            return subprocess.run(["flock", "--nonblock", self.state / "lock", "true"]).returncode == 0

        wait_until(is_ended, lambda: f"{self.task_processes()} hold the lock")

    def _command(self, *arguments: str) -> list[str]:
        clock = CLOCK.format(offset=self._offset, polls=self._polls)
        functions = clock + self.pauses
        # The script finds `task.sh` next to its own name.
        return [*self._shell, "-c", f"{functions}\n. {SCRIPT}", str(self.directory / SCRIPT.name), *arguments]


def wait_until(condition: Callable[[], bool], problem: Callable[[], str]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, problem()
        time.sleep(0.05)

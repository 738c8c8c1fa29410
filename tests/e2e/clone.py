"""A copy of this checkout like the one `git clone` makes, and commands that run in it as on a new machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from operations.project import ROOT

COMMAND_DEADLINE_S = 900
MACHINE_PULUMI_HOME = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")


@dataclass(frozen=True)
class Outcome:
    """A command that has ended."""

    command: str
    code: int
    output: str
    """Standard output and error together, as on a terminal."""

    seconds: float

    def succeeded(self) -> Outcome:
        """Return the outcome; fail the test if the command failed."""
        assert self.code == 0, f"{self.command}: exit code {self.code}\n{self.output}"
        return self

    def failed(self) -> Outcome:
        """Return the outcome; fail the test if the command succeeded."""
        assert self.code != 0, f"{self.command} should have failed:\n{self.output}"
        return self


@dataclass(frozen=True)
class KillableGroup:
    """A command and the processes of its group."""

    process: subprocess.Popen[bytes]
    written: Path
    """File with the command's standard output and error."""

    @property
    def output(self) -> str:
        """Return the command's output so far."""
        return self.written.read_text(errors="replace")

    def kill(self) -> None:
        """Kill the processes without warning, like a power failure."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def send(self, what: signal.Signals) -> None:
        """Send a signal to the command and all its child processes, as a terminal does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, what)


class Clone:
    """A clone of the project including uncommitted work, with a new Pulumi home.

    The plugins come from this machine, so that nothing is downloaded; the user's login isn't changed.

    Args:
        folder: where to create it.
        sibling: another clone of the same user, whose Pulumi home it shares.
    """

    def __init__(self, folder: Path, sibling: Clone | None = None) -> None:
        self.root = folder / "pti-calendar"
        self.pulumi_home: Path = sibling.pulumi_home if sibling else folder / "pulumi-home"
        if sibling is None:
            self.pulumi_home.mkdir(parents=True)
            (self.pulumi_home / "plugins").symlink_to(MACHINE_PULUMI_HOME / "plugins")
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.split("\0"):
            source, target = ROOT / name, self.root / name
            if name and source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)

    def run(self, *command: str, typed: str = "", environment: Mapping[str, str] | None = None) -> Outcome:
        """Run a command in the clone's directory; `environment` is added to a new user's environment."""
        started = time.monotonic()
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**fresh_environment(), "PULUMI_HOME": str(self.pulumi_home), **(environment or {})},
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_DEADLINE_S,
        )
        return Outcome(" ".join(command), done.returncode, done.stdout, time.monotonic() - started)

    @contextmanager
    def started(
        self, *command: str, typed: str = "", environment: Mapping[str, str] | None = None
    ) -> Iterator[KillableGroup]:
        """Run a command in the background; it ends with its child processes at the end of the context."""
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as files:
            answers, written = Path(folder) / "typed", Path(folder) / "written"
            answers.write_text(typed)
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env={**fresh_environment(), "PULUMI_HOME": str(self.pulumi_home), **(environment or {})},
                stdin=files.enter_context(answers.open()),
                stdout=files.enter_context(written.open("w")),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            group = KillableGroup(process, written)
            try:
                yield group
            finally:
                group.kill()

    def activated(self, script: str, environment: Mapping[str, str] | None = None) -> Outcome:
        """Run a shell script after `. ./activate`."""
        return self.run("sh", "-c", f". ./activate && {script}", environment=environment)

    def operate(self, *arguments: str, typed: str = "", environment: Mapping[str, str] | None = None) -> Outcome:
        """Run `python -m operations` with the tests' interpreter, which has the requirements installed."""
        return self.run(sys.executable, "-m", "operations", *arguments, typed=typed, environment=environment)

    def files(self) -> dict[str, int]:
        """Return every file and link with its modification time, except Python's caches."""
        return {
            str(path.relative_to(self.root)): path.lstat().st_mtime_ns
            for path in self.root.rglob("*")
            if "__pycache__" not in path.parts and (path.is_file() or path.is_symlink())
        }


def fresh_environment() -> dict[str, str]:
    """Return this process's environment without Pulumi settings and without a virtual environment."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
        and not name.startswith("PULUMI_")
    }
    own = str(Path(sys.prefix) / "bin")
    kept["PATH"] = os.pathsep.join(part for part in kept["PATH"].split(os.pathsep) if part != own)
    return kept | {"PULUMI_SKIP_UPDATE_CHECK": "true", "PYTHONDONTWRITEBYTECODE": "1"}


def directory_with(folder: Path, *commands: str) -> Path:
    """Create a directory for PATH that contains only these commands."""
    folder.mkdir()
    for command in commands:
        found = shutil.which(command)
        assert found, f"{command} is not on this machine"
        (folder / command).symlink_to(found)
    return folder

"""PostgreSQL as started in its container: `start.sh` on a volume, an unprivileged user, its own socket directory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.rows import TupleRow

from tests.artifacts.postgres_server import (
    ADMIN,
    DEADLINE_S,
    Installation,
    as_unprivileged_user,
    give_to_unprivileged_user,
    runnable,
)
from tests.artifacts.provisioning_task import ASSETS
from tests.ports import free_port

PASSWORD = "admin's own: \\ $(not) simple"

NOT_YET = ("Connection refused", "starting up", "server closed the connection")
"""Errors of a connection to a server that starts. If the server stops instead, its log says why."""


@dataclass
class Container:
    """Consecutive containers on the same volume."""

    programs: Installation
    home: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    password: str = PASSWORD
    previous_major: str = ""
    shm_mib: int | None = None
    """Size of the container's own /dev/shm; None uses the machine's."""

    process: subprocess.Popen[bytes] | None = None

    @property
    def volume(self) -> Path:
        """Return the volume's mount point."""
        return self.home / "volume"

    @property
    def data(self) -> Path:
        """Return the data directory."""
        return self.volume / str(self.programs.major) / "docker"

    @property
    def marker(self) -> Path:
        """Return the file that marks the volume as containing data."""
        return self.volume / ".pti-calendar-data"

    @property
    def log(self) -> str:
        """Return the containers' logs."""
        return (self.home / "log").read_text()

    def start(self) -> subprocess.Popen[bytes]:
        """Start a new container without waiting for it."""
        password = self.home / "password"
        password.unlink(missing_ok=True)
        password.write_text(self.password)
        give_to_unprivileged_user(password)
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.home / "socket"),
            **self.settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self._own_shm(),
                    *as_unprivileged_user("sh", str(self.home / "assets" / "start.sh"), "postgres", *options),
                ],
                env=self.environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def _own_shm(self) -> list[str]:
        if self.shm_mib is None:
            return []
        mount = f"mount -t tmpfs -o size={self.shm_mib}m,mode=1777 shm /dev/shm"
        return ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of the container's processes."""
        return {
            "PATH": f"{self.home / 'bin'}:{self.programs.bin}:{os.environ['PATH']}",
            "PGDATA": str(self.data),
            "PGHOST": str(self.home / "socket"),
            "PGPORT": str(self.port),
            "POSTGRES_PASSWORD_FILE": str(self.home / "password"),
            "POSTGRES_PREVIOUS_MAJOR": self.previous_major,
            "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256 --data-checksums --encoding=UTF8 --locale='C' --no-sync",
        }

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another script in the running container."""
        return subprocess.run(
            as_unprivileged_user("sh", str(self.home / "assets" / script), *arguments),
            env=self.environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def connect(self, password: str | None = None) -> psycopg.Connection[TupleRow]:
        """Open a superuser's session over TCP that commits each statement."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=ADMIN, password=password or self.password, autocommit=True
        )

    def start_and_connect(self) -> psycopg.Connection[TupleRow]:
        """Start a container and return a session once it serves."""
        process = self.start()
        while True:
            assert process.poll() is None, self.log
            try:
                return self.connect()
            except psycopg.OperationalError as error:
                if not any(reason in str(error) for reason in NOT_YET):
                    raise
            pause()

    def start_refused(self) -> str:
        """Return the output of a container that must fail to start."""
        before = len(self.log) if (self.home / "log").exists() else 0
        assert self.start().wait(timeout=DEADLINE_S) == 1
        return self.log[before:]

    def kill(self) -> None:
        """Kill every process at once, as when a node is lost."""
        if self.process is not None:
            kill_all(self.process, self.data)

    def stop(self, by: signal.Signals = signal.SIGINT) -> int:
        """Stop the container and return its exit status."""
        assert self.process is not None
        self.process.send_signal(by)
        return self.process.wait(timeout=DEADLINE_S)


@contextmanager
def container(installation: Installation) -> Iterator[Container]:
    """A container that hasn't been started, and its empty volume."""
    home = Path(tempfile.mkdtemp(prefix="pti-start-"))
    home.chmod(0o755)  # The server runs as another user.
    programs = runnable(installation)
    shutil.copytree(ASSETS, home / "assets")
    shutil.copy(ASSETS / "backup" / "rows.sql", home / "assets")
    for name in ("volume", "socket"):
        (home / name).mkdir()
    give_to_unprivileged_user(home / "volume", home / "socket")
    one = Container(programs, home, free_port())
    try:
        yield one
    finally:
        one.kill()
        shutil.rmtree(home, ignore_errors=True)


def kill_all(process: subprocess.Popen[bytes], data: Path) -> None:
    """Kill a container's processes and wait until they are gone, because they use the volume until then."""
    pids = [process.pid, *descendants(process.pid), *server_pids(data)]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=DEADLINE_S)
    # A server that isn't reaped yet still owns its lock file.
    until(lambda: not server_pids(data) and not any(Path(f"/proc/{pid}").exists() for pid in pids), details=[data])


def server_pids(data: Path) -> list[int]:
    """Return the server's processes on a data directory; some outlive their parent."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if (process / "cwd").readlink() == data:
                found.append(int(process.name))
    return found


def descendants(parent: int) -> list[int]:
    """Return the process' descendants."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    found = [int(pid) for pid in children.stdout.split()]
    return [*found, *(below for pid in found for below in descendants(pid))]


def process_titled(data: Path, title: str) -> int | None:
    """Return the server process on a data directory whose title begins with a text."""
    for pid in server_pids(data):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if Path(f"/proc/{pid}/cmdline").read_text().startswith(title):
                return pid
    return None


def until(condition: Callable[[], object], *, details: Sequence[object] = ()) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, details
        pause()


def pause() -> None:
    """Wait between two polls."""
    time.sleep(0.005)

"""PostgreSQL as its container starts it: `start.sh` on a volume, an unprivileged user, its own socket directory."""

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
    free_port,
    give_away,
    runnable,
    unprivileged,
)
from tests.artifacts.provisioning_task import ASSETS

PASSWORD = "admin's own: \\ $(not) simple"


@dataclass
class Container:
    """One container after the other on the same volume."""

    programs: Installation
    home: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    password: str = PASSWORD
    shm_mib: int | None = None
    """Size of a /dev/shm of its own; without it, the machine's."""

    process: subprocess.Popen[bytes] | None = None

    @property
    def volume(self) -> Path:
        """Where the volume is mounted."""
        return self.home / "volume"

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.volume / str(self.programs.major) / "docker"

    @property
    def marker(self) -> Path:
        """The file that says that the volume holds data."""
        return self.volume / ".pti-calendar-data"

    @property
    def log(self) -> str:
        """What the containers have written."""
        return (self.home / "log").read_text()

    def start(self) -> subprocess.Popen[bytes]:
        """A new container; it may still be starting."""
        password = self.home / "password"
        password.unlink(missing_ok=True)
        password.write_text(self.password)
        give_away(password)
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.home / "socket"),
            **self.settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._own_shm(), *unprivileged("sh", str(self.home / "assets" / "start.sh"), "postgres", *options)],
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
        """What the container's processes find in their environment."""
        return {
            "PATH": f"{self.programs.bin}:{os.environ['PATH']}",
            "PGDATA": str(self.data),
            "PGHOST": str(self.home / "socket"),
            "PGPORT": str(self.port),
            "POSTGRES_PASSWORD_FILE": str(self.home / "password"),
            "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256 --data-checksums --encoding=UTF8 --locale='C' --no-sync",
        }

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """One of the other scripts, in the running container."""
        return subprocess.run(
            unprivileged("sh", str(self.home / "assets" / script)),
            env=self.environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def connect(self, password: str | None = None) -> psycopg.Connection[TupleRow]:
        """A session of the superuser's over TCP; each statement commits."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=ADMIN, password=password or self.password, autocommit=True
        )

    def started(self) -> psycopg.Connection[TupleRow]:
        """A session, as soon as the container serves."""
        process = self.start()
        while True:
            assert process.poll() is None, self.log
            try:
                return self.connect()
            except psycopg.OperationalError as error:
                if "Connection refused" not in str(error) and "starting up" not in str(error):
                    raise
            wait_a_moment()

    def refused(self) -> str:
        """What a container writes that doesn't start."""
        before = len(self.log) if (self.home / "log").exists() else 0
        assert self.start().wait(timeout=DEADLINE_S) == 1
        return self.log[before:]

    def kill(self) -> None:
        """Ends every process at once, as a lost node does."""
        if self.process is not None:
            kill_all(self.process, self.data)

    def stop(self, by: signal.Signals = signal.SIGINT) -> int:
        """Asks the container to stop and gives its exit status."""
        assert self.process is not None
        self.process.send_signal(by)
        return self.process.wait(timeout=DEADLINE_S)


@contextmanager
def container(installation: Installation) -> Iterator[Container]:
    """A container that hasn't started, and its empty volume."""
    home = Path(tempfile.mkdtemp(prefix="pti-start-"))
    home.chmod(0o755)  # the server runs as somebody else
    programs = runnable(installation, home)
    shutil.copytree(ASSETS, home / "assets")
    for name in ("volume", "socket"):
        (home / name).mkdir()
    give_away(home / "volume", home / "socket")
    one = Container(programs, home, free_port())
    try:
        yield one
    finally:
        one.kill()
        shutil.rmtree(home, ignore_errors=True)


def kill_all(process: subprocess.Popen[bytes], data: Path) -> None:
    """Kills a container's processes, and waits until they are gone: they hold the volume until then."""
    for pid in [process.pid, *descendants(process.pid), *servers(data)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=DEADLINE_S)
    until(lambda: not servers(data), about=[data])


def servers(data: Path) -> list[int]:
    """The server's processes on a data directory; some outlive the one that began them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if (process / "cwd").readlink() == data:
                found.append(int(process.name))
    return found


def descendants(parent: int) -> list[int]:
    """The processes below one."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    found = [int(pid) for pid in children.stdout.split()]
    return [*found, *(below for pid in found for below in descendants(pid))]


def titled(data: Path, title: str) -> int | None:
    """The server process on a data directory whose title begins with this."""
    for pid in servers(data):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if Path(f"/proc/{pid}/cmdline").read_text().startswith(title):
                return pid
    return None


def until(found: Callable[[], object], *, about: Sequence[object] = ()) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + DEADLINE_S
    while not found():
        assert time.monotonic() < deadline, about
        wait_a_moment()


def wait_a_moment() -> None:
    """Between two looks."""
    time.sleep(0.005)

"""Real PostgreSQL servers for the tests: find installations of every major version, start a temporary server, stop it.

Installations come from `PTI_POSTGRES_BIN` (directories with `initdb` and `postgres`, separated by `:`), from PATH, from
Debian's `/usr/lib/postgresql/*/bin`, and from the cache of the end-to-end images, which this command fills:

    python -m tests.artifacts.postgres_server fetch [VERSION ...]

An installation includes the server, psql and pg_dump.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg
from psycopg.rows import TupleRow

from testbed.images import downloads
from tests.ports import free_port

FETCHED_VERSIONS = ("17.11.0", "18.6.0")
"""The platform's image supports 17 and 18. `tests/artifacts/versions.py` chooses from what the machine has."""

ADMIN = "postgres"
ADMIN_PASSWORD = "admin's own: not \\ simple"
UNPRIVILEGED_UID = 65534
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Installation:
    """The programs of one major version of PostgreSQL."""

    major: int
    bin: Path


def installations() -> list[Installation]:
    """Return one per major version, the oldest first. The list is empty if the machine has none, or no /proc, which
    the container's scripts read."""
    if not Path("/proc/uptime").exists():
        return []
    named = [Path(part) for part in os.environ.get("PTI_POSTGRES_BIN", "").split(":") if part]
    on_path = shutil.which("postgres")
    candidates = [
        *named,
        *([Path(on_path).resolve().parent] if on_path else []),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin")),
        *sorted((downloads.CACHE / "downloads").glob("*/postgresql/bin")),
    ]
    found: dict[int, Installation] = {}
    for directory in candidates:
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            major = _major(directory)
            found.setdefault(major, Installation(major, directory))
    return [found[major] for major in sorted(found)]


@dataclass(frozen=True)
class Server:
    """A running server on a loopback port: every role logs in with a password over TCP, as on the platform."""

    port: int
    log: Path
    programs: Installation
    """The same installation in a location where the server's unprivileged user can run it."""

    def connect(
        self, dbname: str = ADMIN, user: str = ADMIN, password: str = ADMIN_PASSWORD, options: str = ""
    ) -> psycopg.Connection[TupleRow]:
        """Open a session that commits each statement; use `with session.transaction()` for transactions."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            dbname=dbname,
            user=user,
            password=password,
            options=options,
            autocommit=True,
        )


@contextmanager
def running_server(installation: Installation, port: int | None = None, prefix: Sequence[str] = ()) -> Iterator[Server]:
    """Start a server in a new directory, and remove both afterwards. It disables fsync and keeps every other
    default. `prefix` is a command that runs the server's."""
    port = port or free_port()
    home = Path(tempfile.mkdtemp(prefix="pti-postgres-"))
    home.chmod(0o755)  # The server runs as another user.
    process: subprocess.Popen[bytes] | None = None
    try:
        programs = runnable(installation)
        data, log = home / "data", home / "server.log"
        subprocess.run(["cp", "-a", str(_empty_cluster(programs)), str(data)], check=True)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "fsync": "off",
            "max_wal_size": "4GB",  # Prevent checkpoints during a test.
            "log_statement": "all",  # Log everything that reaches the server in plain text.
            "log_min_duration_statement": "0",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with log.open("wb") as sink:
            process = subprocess.Popen(
                as_unprivileged_user(*prefix, str(programs.bin / "postgres"), "-D", str(data), *options),
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=home,
            )
        server = Server(port, log, programs)
        _wait_until_ready(server, process)
        yield server
    finally:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGQUIT)  # Immediate shutdown: no data needs to be written.
            process.wait(timeout=DEADLINE_S)
        shutil.rmtree(home, ignore_errors=True)


def as_unprivileged_user(*command: str) -> list[str]:
    """Return the command as run by an unprivileged user: PostgreSQL refuses to run as root, and the task should too."""
    if os.geteuid() != 0:
        return list(command)
    ids = str(UNPRIVILEGED_UID)
    return ["setpriv", "--reuid", ids, "--regid", ids, "--clear-groups", *command]


def give_to_unprivileged_user(*paths: Path) -> None:
    """Make the unprivileged user the owner."""
    if os.geteuid() == 0:
        for path in paths:
            os.chown(path, UNPRIVILEGED_UID, UNPRIVILEGED_UID)


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"the server stopped: {server.log.read_text()}")
        try:
            server.connect().close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _major(directory: Path) -> int:
    # Don't look for pg_config, which Debian puts into another package.
    output = subprocess.run([str(directory / "initdb"), "--version"], check=True, capture_output=True, text=True).stdout
    match = re.search(r"(\d+)(?:\.\d+|beta|rc|devel)", output)
    if match is None:
        raise RuntimeError(f"{directory}: no version in {output!r}")
    return int(match.group(1))


@cache
def runnable(installation: Installation) -> Installation:
    """Copy the programs, once per process, to a directory where the unprivileged user can run them, because root's home
    with the cache is private."""
    directory = installation.bin
    if os.geteuid() != 0 or all(parent.stat().st_mode & stat.S_IXOTH for parent in directory.parents):
        return installation
    copy = _shared_directory() / f"postgresql-{installation.major}"
    shutil.copytree(directory.parent, copy, symlinks=True)
    return Installation(installation.major, copy / "bin")


@cache
def _empty_cluster(programs: Installation) -> Path:
    """Run `initdb`, once per process, and return the data directory that each server gets a copy of."""
    home = _shared_directory()
    data, password_file = home / f"data-{programs.major}", home / "password"
    password_file.write_text(ADMIN_PASSWORD)
    data.mkdir()
    give_to_unprivileged_user(data, password_file)
    subprocess.run(
        [
            *as_unprivileged_user(
                str(programs.bin / "initdb"), "-D", str(data), "-U", ADMIN, "-E", "UTF8", "--no-sync"
            ),
            *("--locale=C", "--auth=scram-sha-256", f"--pwfile={password_file}"),
        ],
        check=True,
        capture_output=True,
        cwd=home,
    )
    return data


@cache
def _shared_directory() -> Path:
    """Return a directory for what this process' servers share; it is deleted when the process ends."""
    home = Path(tempfile.mkdtemp(prefix="pti-postgres-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    home.chmod(0o755)  # The servers run as another user.
    return home


if __name__ == "__main__":
    if sys.argv[1:2] != ["fetch"]:
        sys.exit(__doc__)
    for wanted in sys.argv[2:] or FETCHED_VERSIONS:
        print(downloads.PostgresBinaries(version=wanted).fetch())

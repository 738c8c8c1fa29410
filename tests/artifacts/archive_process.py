"""The workload `archive` as run in a container: an unprivileged user, one directory of scripts, files for secrets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from tests.artifacts.backup_scripts import kill
from tests.artifacts.postgres_server import (
    ADMIN,
    ADMIN_PASSWORD,
    DEADLINE_S,
    Server,
    as_unprivileged_user,
    give_to_unprivileged_user,
)
from tests.artifacts.postgres_start import descendants, until
from tests.artifacts.provisioning_task import ASSETS, BACKUP, Outcome, Task, task_for
from tests.artifacts.tenant_script import script_variables

ARCHIVE = "pti_archive"
SCHEDULER = ASSETS.parent / "schedule" / "scheduler.sh"
ALL_DAY = "0 0 1 1 *"
"""Once a year: only requested base backups are taken."""


@dataclass
class Archive:
    """The archive of a provisioned server. Change `environment` between starts."""

    task: Task
    volume: Path
    databases: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    @property
    def server(self) -> Server:
        """Return the server."""
        return self.task.server

    @property
    def directory(self) -> Path:
        """Return the directory of the chains."""
        return self.volume / "archive"

    @property
    def log(self) -> str:
        """Return what the workload has printed."""
        return (self.task.home / "archive.log").read_text()

    def start(self) -> None:
        """Start the workload, and wait until it receives WAL."""
        self.start_without_waiting()
        until(lambda: self.ready().status == 0, details=[self.log])

    def start_without_waiting(self) -> None:
        """Start the workload."""
        with (self.task.home / "archive.log").open("a") as log:
            self.process = subprocess.Popen(
                self._command("archive.sh"),
                env=self._environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def start_with_base(self) -> str:
        """Start the workload, wait for its first base backup, and return the base backup's name."""
        self.start()
        return self.next_base([])

    def next_base(self, known: list[str]) -> str:
        """Wait for a base backup that isn't among these, and for the end of its run."""
        until(lambda: set(self.bases()) - set(known), details=[self.log])
        until(lambda: " is in progress" not in self.run("scheduler.sh", "status").output, details=[self.log])
        [name] = set(self.bases()) - set(known)
        return name

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the workload's first process, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(by)
        status = self.process.wait(timeout=DEADLINE_S)
        self.process = None
        return status

    def kill(self) -> None:
        """Kill every process of the workload at once, as the loss of a node does."""
        if self.process is not None:
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def pids(self) -> list[int]:
        """Return the processes of the workload."""
        return [*descendants(self.process.pid), self.process.pid] if self.process else []

    def run(self, script: str, *arguments: str, timeout_s: float = DEADLINE_S) -> Outcome:
        """Run a script in the container to its end."""
        process = self.begin(script, *arguments)
        try:
            output, errors = process.communicate(timeout=timeout_s)
        finally:
            kill(process)
        return Outcome(process.returncode, output, errors)

    def begin(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a script in the container, as the leader of a process group."""
        return subprocess.Popen(
            self._command(script, *arguments),
            env=self._environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def base(self) -> Outcome:
        """Take a base backup."""
        return self.run("scheduler.sh", "run")

    def recover(self, to: str, database: str | None = None, *, confirm: bool = True) -> Outcome:
        """Recover one database or all of them, and replace the running ones if confirmed."""
        chosen = ["--database", database] if database else ["--all"]
        script = str(self.assets / "recover.sh")
        return self.run("scheduler.sh", "run", "sh", script, "--to", to, *chosen, *(["--confirm"] if confirm else []))

    def points(self) -> list[dict[str, Any]]:
        """Return the recoverable times per base backup."""
        outcome = self.run("points.sh", "--json")
        found: list[dict[str, Any]] = json.loads(outcome.output)
        return found

    def ready(self) -> Outcome:
        """Return the result of the readiness probe."""
        return self.run("ready.sh")

    def chains(self) -> list[Path]:
        """Return the directories of the chains, the oldest first."""
        return sorted(path for path in self.directory.glob("*Z") if path.is_dir())

    def bases(self) -> list[str]:
        """Return the names of the base backups, the oldest first."""
        return sorted(path.name for path in self.directory.glob("*Z/base/*Z"))

    def segments(self) -> list[Path]:
        """Return the complete segments of the newest chain, the oldest first."""
        return sorted(path for path in (self.chains()[-1] / "wal").iterdir() if len(path.name) == 24)

    @property
    def assets(self) -> Path:
        """Return the directory of the scripts."""
        return self.task.home / "archive"

    def _command(self, script: str, *arguments: str) -> list[str]:
        return as_unprivileged_user("sh", str(self.assets / script), *arguments)

    def _environment(self) -> dict[str, str]:
        secrets = {
            "backup": self.task.passwords[BACKUP],
            "admin": ADMIN_PASSWORD,
            "archive-password": self.task.passwords[ARCHIVE],
        }
        for name, password in secrets.items():
            if not (self.task.home / name).exists():
                self.task.secret(name, password)
        return {
            "PATH": f"{self.server.programs.bin}:{os.environ['PATH']}",
            "TMPDIR": str(self.task.scratch),
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.server.port),
            "ADMIN_USER": ADMIN,
            "ADMIN_PASSWORD_FILE": str(self.task.home / "admin"),
            "BACKUP_PASSWORD_FILE": str(self.task.home / "backup"),
            "BACKUP_DIR": str(self.volume / "recovered"),
            "BACKUP_WAIT_S": "1",
            "ARCHIVE_DIR": str(self.directory),
            "ARCHIVE_PASSWORD_FILE": str(self.task.home / "archive-password"),
            "ARCHIVE_STATUS_FILE": str(self.task.scratch / "status"),
            "ARCHIVE_SCHEDULE": ALL_DAY,
            "ARCHIVE_HEARTBEAT_S": "1",
            "TENANTS_ERASED_FILE": str(self.volume / "erased-tenants"),
            **script_variables(self.task, self.databases),
            **self.environment,
        }


def now() -> str:
    """Return the time as `--to` takes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@contextmanager
def archive_of(server: Server, *databases: str, volume: Path | None = None) -> Iterator[Archive]:
    """Provision these databases, and an archive that hasn't been started. Removes everything afterwards."""
    with task_for(server, *databases) as task:
        task.passwords[ARCHIVE] = "password of pti_archive"
        outcome = task.run()
        assert outcome.status == 0, outcome.errors
        scripts = task.home / "archive"
        shutil.copytree(ASSETS / "archive", scripts)
        for path in [*(ASSETS / "backup").iterdir(), ASSETS / "tenants.sh", SCHEDULER]:
            shutil.copy(path, scripts)
        given = volume or Path(tempfile.mkdtemp(prefix="pti-archive-"))
        give_to_unprivileged_user(given)
        (task.home / "archive.log").touch()
        archive = Archive(task, given, databases)
        try:
            yield archive
        finally:
            archive.kill()
            if volume is None:
                shutil.rmtree(given, ignore_errors=True)
            # The server may have been killed.
            with suppress(psycopg.OperationalError):
                clear(server)


def clear(server: Server) -> None:
    """Remove the databases and the replication slot of an archive that has been stopped."""
    with server.connect() as admin:
        until(lambda: not admin.execute("SELECT FROM pg_replication_slots WHERE active").fetchall(), details=["slot"])
        admin.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        for (name,) in admin.execute(
            "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
        ).fetchall():
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

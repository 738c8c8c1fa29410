"""The scripts for backups as run in a container: an unprivileged user, no terminal, files for secrets."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.artifacts.postgres_server import (
    ADMIN,
    ADMIN_PASSWORD,
    DEADLINE_S,
    Server,
    as_unprivileged_user,
    give_to_unprivileged_user,
)
from tests.artifacts.provisioning_task import BACKUP, Outcome, Task, task_for
from tests.artifacts.tenant_script import script_variables


@dataclass
class Backups:
    """A provisioned server's backups. Change `environment` between runs."""

    task: Task
    directory: Path
    databases: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def server(self) -> Server:
        """Return the server."""
        return self.task.server

    def run(self, script: str, *arguments: str) -> Outcome:
        """Run a script to the end; raise `subprocess.TimeoutExpired` if it hangs."""
        process = self.start(script, *arguments)
        try:
            output, errors = process.communicate(timeout=DEADLINE_S)
        finally:
            kill(process)
        return Outcome(process.returncode, output, errors)

    def start(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a script in the background, as the leader of a process group."""
        return subprocess.Popen(
            as_unprivileged_user("sh", str(self.task.home / "assets" / "backup" / script), *arguments),
            env=self._environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def back_up(self) -> str:
        """Write a backup, which must succeed, and return its name."""
        before = self.names()
        outcome = self.run("backup.sh")
        assert (outcome.status, outcome.errors) == (0, ""), outcome
        [name] = set(self.names()) - set(before)
        return name

    def restore(self, name: str, *databases: str) -> Outcome:
        """Restore one database or all of them from a backup, confirmed."""
        chosen = [f"--database={database}" for database in databases] or ["--all"]
        arguments = [part for option in chosen for part in option.split("=")]
        return self.run("restore.sh", *arguments, "--from", name, "--confirm", name)

    def names(self) -> list[str]:
        """Return the names of the backups as the file system has them, the oldest first."""
        if not self.directory.exists():
            return []
        return sorted(path.name for path in self.directory.iterdir() if path.name[0].isdigit())

    def remains(self) -> list[str]:
        """Return what isn't a backup in the directory."""
        return sorted(path.name for path in self.directory.iterdir() if not path.name[0].isdigit())

    def _environment(self) -> dict[str, str]:
        secrets = {"backup": self.task.passwords[BACKUP], "admin": ADMIN_PASSWORD}
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
            "BACKUP_DIR": str(self.directory),
            "BACKUP_WAIT_S": "1",
            "TENANTS_ERASED_FILE": str(self.directory.parent / "erased-tenants"),
            **script_variables(self.task, self.databases),
            "BACKUP_DATABASES": " ".join(self.databases),
            **self.environment,
        }


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a script and its tools at once, as the end of a container does."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def backups_of(server: Server, *databases: str) -> Iterator[Backups]:
    """Provision these databases, and drop them afterwards."""
    with task_for(server, *databases) as task:
        outcome = task.run()
        assert outcome.status == 0, outcome.errors
        shutil.copy(task.home / "assets" / "tenants.sh", task.home / "assets" / "backup")
        volume = task.home / "volume"
        volume.mkdir()
        give_to_unprivileged_user(volume)
        try:
            yield Backups(task, volume / "backups", databases)
        finally:
            shutil.rmtree(volume, ignore_errors=True)
            with server.connect() as admin:
                for (name,) in admin.execute(
                    "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
                ).fetchall():
                    admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

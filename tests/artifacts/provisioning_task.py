"""The provisioning task as run in a container: `sh provision.sh`, an unprivileged user, no terminal, files for secrets,
one writable directory.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.rows import TupleRow

from tests.artifacts.postgres_server import (
    ADMIN,
    ADMIN_PASSWORD,
    DEADLINE_S,
    Server,
    as_unprivileged_user,
    give_to_unprivileged_user,
)

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "postgres"
BACKUP = "pti_backup"
CONNECTIONS = 6
"""Connection limit of each application role."""


@dataclass(frozen=True)
class Outcome:
    """Output and exit status of a run."""

    status: int
    output: str
    errors: str

    def lines_about(self, *subjects: str) -> list[str]:
        """Return the lines of standard output that begin with one of these, in order."""
        return [line for line in self.output.splitlines() if line.startswith(subjects)]


@dataclass
class Task:
    """One configuration of the task. Change `table`, `passwords` or `environment` between runs."""

    server: Server
    home: Path
    table: str
    passwords: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    _runs: Iterator[int] = field(default_factory=itertools.count)

    def run(self) -> Outcome:
        """Run the task to the end; raise `subprocess.TimeoutExpired` if it hangs."""
        process = self.start()
        try:
            output, errors = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
        return Outcome(process.returncode, output, errors)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start the task in the background; `command` is `sh provision.sh` by default."""
        return subprocess.Popen(
            as_unprivileged_user(*(command or ("sh", str(self.program)))),
            env=self._environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def connect(self, database: str, role: str) -> psycopg.Connection[TupleRow]:
        """Open a session of one of the roles, with its expected password."""
        return self.server.connect(database, role, self.passwords[role])

    @property
    def program(self) -> Path:
        """Return the script that `sh` runs."""
        return self.home / "assets" / "provision.sh"

    @property
    def scratch(self) -> Path:
        """Return the only directory that the task can write to."""
        return self.home / "tmp"

    def secret(self, name: str, content: str) -> Path:
        """Return a file that only the task can read."""
        path = self.home / name
        path.write_text(content)
        path.chmod(0o400)
        give_to_unprivileged_user(path)
        return path

    def _environment(self) -> Mapping[str, str]:
        # One directory per run, because other runs may be reading theirs.
        run = f"run-{next(self._runs)}"
        passwords = self.home / run / "passwords"
        passwords.mkdir(parents=True)
        for role, password in self.passwords.items():
            self.secret(f"{run}/passwords/{role}", password)
        table = self.home / run / "databases"
        table.write_text(self.table)
        return {
            "PATH": f"{self.server.programs.bin}:{os.environ['PATH']}",
            "TMPDIR": str(self.scratch),
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.server.port),
            "PGUSER": ADMIN,
            "PGPASSWORD_FILE": str(self.secret(f"{run}/admin", ADMIN_PASSWORD)),
            "PROVISION_TABLE": str(table),
            "PROVISION_PASSWORDS_DIR": str(passwords),
            **self.environment,
        }


@contextmanager
def task_for(server: Server, *databases: str) -> Iterator[Task]:
    """Return the task for a table of these databases and plain passwords, not run yet."""
    home = Path(tempfile.mkdtemp(prefix="pti-provisioning-"))
    home.chmod(0o755)  # The task runs as another user.
    try:
        shutil.copytree(ASSETS, home / "assets")
        (home / "tmp").mkdir()
        give_to_unprivileged_user(home / "tmp")
        logins = [f"{database}_{role}" for database in databases for role in ("migrator", "app")]
        yield Task(
            server,
            home,
            table="".join(f"service-{number} {database} {CONNECTIONS}\n" for number, database in enumerate(databases)),
            passwords={role: f"password of {role}" for role in [*logins, BACKUP]},
        )
    finally:
        shutil.rmtree(home, ignore_errors=True)


def dump(server: Server, program: str, *arguments: str, user: str = ADMIN, password: str = ADMIN_PASSWORD) -> str:
    """Return the output of the matching pg_dump, pg_dumpall or pg_restore, without the key that always differs."""
    done = subprocess.run(
        [str(server.programs.bin / program), "-h", "127.0.0.1", "-p", str(server.port), "-U", user, *arguments],
        env={"PGPASSWORD": password},
        capture_output=True,
        text=True,
        check=True,
    )
    return re.sub(r"^\\(un)?restrict .*$", "", done.stdout, flags=re.MULTILINE)

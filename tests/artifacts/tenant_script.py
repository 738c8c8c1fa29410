"""`tenants.sh` as run in a container: an unprivileged user, no terminal, files for secrets."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.artifacts.postgres_server import DEADLINE_S, as_unprivileged_user, give_to_unprivileged_user
from tests.artifacts.provisioning_task import Outcome, Task


@dataclass
class TenantScript:
    """The script with the databases, roles and passwords of a provisioning task."""

    task: Task
    databases: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str) -> Outcome:
        """Run the script to the end; raise `subprocess.TimeoutExpired` if it hangs."""
        process = self.start(*arguments)
        try:
            output, errors = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
        return Outcome(process.returncode, output, errors)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the script in the background."""
        return subprocess.Popen(
            as_unprivileged_user("sh", str(self.task.home / "assets" / "tenants.sh"), *arguments),
            env={
                "PATH": f"{self.task.server.programs.bin}:{os.environ['PATH']}",
                "TMPDIR": str(self.task.scratch),
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self.task.server.port),
                **script_variables(self.task, self.databases),
                **self.environment,
            },
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def script_variables(task: Task, databases: Sequence[str]) -> dict[str, str]:
    """Return the variables of the script's files, which are written before the first run."""
    home = task.home / "tenants"
    if not home.exists():
        (home / "passwords").mkdir(parents=True)
        give_to_unprivileged_user(home)
        for role, password in task.passwords.items():
            task.secret(f"tenants/passwords/{role}", password)
        (home / "databases").write_text("".join(f"service {name} 6\n" for name in databases))
    return {"TENANTS_TABLE": str(home / "databases"), "TENANTS_PASSWORDS_DIR": str(home / "passwords")}


@dataclass(frozen=True)
class Export:
    """An exported directory."""

    directory: Path

    @property
    def manifest(self) -> dict[str, Any]:
        """Return the manifest."""
        found: dict[str, Any] = json.loads((self.directory / "manifest.json").read_text())
        return found

    def rows(self, file: str) -> list[dict[str, Any]]:
        """Return the rows in one of the files."""
        return [json.loads(line) for line in (self.directory / file).read_text().split("\n") if line]

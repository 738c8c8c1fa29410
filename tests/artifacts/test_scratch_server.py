"""The temporary server of backup/scratch.sh: who can reach it, when it is ready, and that it ends with its run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.artifacts.postgres_server import (
    DEADLINE_S,
    Installation,
    as_unprivileged_user,
    give_to_unprivileged_user,
)
from tests.artifacts.postgres_start import server_pids, until
from tests.artifacts.provisioning_task import ASSETS
from tests.full_run import only_in_full_runs

pytestmark = only_in_full_runs

PREAMBLE = """
operation=test usage= step=test
. "$ASSETS/backup/common.sh"
. "$ASSETS/backup/scratch.sh"
"""


@dataclass(frozen=True)
class Run:
    """A directory in which scripts with a temporary server run."""

    home: Path
    programs: Installation

    @property
    def data(self) -> Path:
        """Return the data directory."""
        return self.home / "data"

    def start(self, script: str) -> subprocess.Popen[str]:
        """Start a script in the background, with a platform's connection variables."""
        return subprocess.Popen(
            as_unprivileged_user("sh", "-c", PREAMBLE + script),
            env={
                "PATH": f"{self.programs.bin}:{os.environ['PATH']}",
                "ASSETS": str(ASSETS),
                "TMPDIR": str(self.home),
                "DATA": str(self.data),
                "PGHOST": "192.0.2.1",
                "PGUSER": "pti_backup",
                "PGPASSWORD": "secret",
                "PGSSLMODE": "verify-full",
                "PGSSLROOTCERT": "system",
                "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256 --data-checksums --encoding=UTF8 --locale='C'",
            },
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str) -> tuple[int, str, str]:
        """Return the exit status, the output and the errors of a script."""
        process = self.start(script)
        output, errors = process.communicate(timeout=DEADLINE_S)
        return process.returncode, output, errors

    def remains(self) -> list[str]:
        """Return what is in the directory beside the data."""
        return sorted(path.name for path in self.home.iterdir() if path != self.data)


@pytest.fixture
def run(installation: Installation) -> Iterator[Run]:
    """An empty directory."""
    home = Path(tempfile.mkdtemp(prefix="pti-scratch-"))
    give_to_unprivileged_user(home)
    try:
        yield Run(home, installation)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_a_new_server_answers_only_over_its_private_socket_and_leaves_its_data(run: Run) -> None:
    script = """
        create_scratch_server "$DATA"
        on_scratch_server psql -qAtc "SELECT current_user, inet_server_addr() IS NULL"
        on_scratch_server psql -qAtc "SHOW listen_addresses"
        stat -c %a "$scratch_socket"
        on_scratch_server psql -qc "CREATE TABLE public.kept AS SELECT 7 AS value"
        stop_scratch_server
        start_scratch_server "$DATA" -c work_mem=9MB
        on_scratch_server psql -qAtc "SELECT value, current_setting('work_mem') FROM public.kept"
    """
    status, output, errors = run.run(script)
    assert (status, errors) == (0, "")
    assert output.split("\n") == ["postgres|t", "", "700", "7|9MB", ""]
    assert (server_pids(run.data), run.remains()) == ([], [])


def test_a_server_that_cannot_start_fails_with_the_end_of_its_log(run: Run) -> None:
    status, output, errors = run.run('create_scratch_server "$DATA"; stop_scratch_server; rm "$DATA"/global/pg_control')
    assert (status, errors) == (0, "")
    status, output, errors = run.run('start_scratch_server "$DATA"; echo reached')
    assert (status, output) == (1, "")
    assert "pg_control" in errors
    assert run.remains() == []


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL], ids=lambda one: signal.Signals(one).name)
def test_the_server_ends_with_a_run_that_is_ended(run: Run, by: signal.Signals) -> None:
    process = run.start('create_scratch_server "$DATA"; echo ready; while :; do sleep 0.1; done')
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert server_pids(run.data)
    os.kill(process.pid, by)
    process.wait(timeout=DEADLINE_S)
    until(lambda: not server_pids(run.data), details=[by])


def test_a_directory_without_enough_space_is_refused(run: Run) -> None:
    status, output, errors = run.run('require_space "$TMPDIR" 1; echo enough; require_space "$TMPDIR" 999999999')
    assert (status, output) == (1, "enough\n")
    assert "999999999 MiB are needed" in errors

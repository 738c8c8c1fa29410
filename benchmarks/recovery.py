"""Times of backups, base backups and a recovery to a point in time, beside PostgreSQL's own tools in the same run.

    python -m benchmarks.recovery [MIB]

Fills a database of the newest installed PostgreSQL (1024 MiB by default), and prints: pg_dump and our backup,
pg_basebackup and our base backup, the time of a recovery of that database (RTO), and the commits that are lost if
server and archive are killed at the same moment (RPO). The temporary directory needs about eight times the size.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg

from tests.artifacts.archive_process import Archive, archive_of, now
from tests.artifacts.postgres_server import (
    ADMIN,
    ADMIN_PASSWORD,
    Server,
    installations,
    running_server,
)
from tests.artifacts.postgres_start import server_pids

DATABASE = "pti_rdv"
TABLE = "CREATE TABLE visit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant uuid, note text)"
TIMEOUT_S = 3600.0
ROW_BYTES = 180
"""Size of a row with its index entry."""


def main(mib: int) -> None:
    """Run all measurements."""
    newest = installations()[-1]
    print(f"PostgreSQL {newest.major}, {mib} MiB, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with running_server(newest) as server, archive_of(server, DATABASE) as archive:
        create_table(archive)
        archive.start_with_base()
        fill(archive, mib)
        compare("pg_dump --format=custom", dump(server), "our backup", run(archive, "backup.sh"))
        compare("pg_basebackup", base_backup(server), "our base backup", run(archive, "scheduler.sh", "run"))
        with server.connect(DATABASE) as session:
            session.execute("UPDATE visit SET note = reverse(note) WHERE id % 10 = 0")
        before = now()
        with server.connect(DATABASE) as session:
            session.execute("DELETE FROM visit WHERE id % 2 = 0")
        began = time.monotonic()
        outcome = archive.run(
            *("scheduler.sh", "run", "sh", str(archive.assets / "recover.sh")),
            *("--to", before, "--database", DATABASE, "--confirm"),
            timeout_s=TIMEOUT_S,
        )
        print(f"RTO, recovery to the moment before a DELETE: {time.monotonic() - began:.1f} s, status {outcome.status}")
        if outcome.status:
            print(outcome.errors)
        print(f"RPO, server and archive killed: {lost_commits(archive)}")


def create_table(archive: Archive) -> None:
    """Create the table as a migration does."""
    with archive.task.connect(DATABASE, f"{DATABASE}_migrator") as migrator:
        migrator.execute(TABLE)


def fill(archive: Archive, mib: int) -> None:
    """Insert rows that compress about as well as text."""
    with archive.server.connect(DATABASE) as session:
        session.execute(
            "INSERT INTO visit (tenant, note) SELECT md5((n %% 50)::text)::uuid, md5(n::text) || md5((n / 3)::text)"
            " || repeat('x', 20) FROM generate_series(1, %s) AS n",
            [mib * 1024 * 1024 // ROW_BYTES],
        )
        [(size,)] = session.execute("SELECT pg_database_size(current_database()) / 1048576").fetchall()
    print(f"database: {size} MiB")


def dump(server: Server) -> Callable[[Path], None]:
    """Return a run of pg_dump."""
    return lambda home: tool(server, "pg_dump", "--format=custom", f"--file={home / 'dump'}", DATABASE)


def base_backup(server: Server) -> Callable[[Path], None]:
    """Return a run of pg_basebackup."""
    return lambda home: tool(server, "pg_basebackup", f"--pgdata={home / 'base'}", "--checkpoint=fast")


def tool(server: Server, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's tools as the superuser."""
    login = ["--host=127.0.0.1", f"--port={server.port}", f"--username={ADMIN}"]
    subprocess.run(  # noqa: S603 - a program of the installation
        [str(server.programs.bin / program), *login, *arguments], env={"PGPASSWORD": ADMIN_PASSWORD}, check=True
    )


def run(archive: Archive, script: str, *arguments: str) -> Callable[[Path], None]:
    """Return a run of one of our scripts, which must succeed."""

    def once(home: Path) -> None:
        del home
        outcome = archive.run(script, *arguments, timeout_s=TIMEOUT_S)
        if outcome.status:
            raise RuntimeError(outcome.errors)

    return once


def compare(plain: str, run_plain: Callable[[Path], None], own: str, run_own: Callable[[Path], None]) -> None:
    """Print both times and their ratio, from alternating runs."""
    times: dict[str, list[float]] = {plain: [], own: []}
    for _ in range(2):
        for name, once in ((plain, run_plain), (own, run_own)):
            home = Path(tempfile.mkdtemp(prefix="pti-benchmark-"))
            try:
                began = time.monotonic()
                once(home)
                times[name].append(time.monotonic() - began)
            finally:
                shutil.rmtree(home)
    best = {name: min(found) for name, found in times.items()}
    print(f"{plain}: {best[plain]:.1f} s, {own}: {best[own]:.1f} s, ratio {best[own] / best[plain]:.2f}")


def lost_commits(archive: Archive) -> str:
    """Kill server and archive while rows are inserted, and describe what the archive hasn't received."""
    acknowledged: list[tuple[float, int]] = []

    def write() -> None:
        with suppress(psycopg.Error), archive.server.connect(DATABASE) as session:
            while True:
                [(number,)] = session.execute("INSERT INTO visit (note) VALUES ('x') RETURNING id").fetchall()
                acknowledged.append((time.monotonic(), number))

    writer = threading.Thread(target=write)
    writer.start()
    while len(acknowledged) < 2000:
        time.sleep(0.1)
    # The archive first: whatever is committed until the server is killed is lost.
    data = archive.server.log.parent / "data"
    for pid in [*archive.pids(), *server_pids(data)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    archive.kill()
    writer.join()
    with (
        running_server(archive.server.programs) as other,
        archive_of(other, DATABASE, volume=archive.volume) as restored,
    ):
        create_table(restored)
        script = str(restored.assets / "recover.sh")
        outcome = restored.run(
            "scheduler.sh", "run", "sh", script, "--to", "latest", "--all", "--confirm", timeout_s=TIMEOUT_S
        )
        if outcome.status:
            return outcome.errors
        with other.connect(DATABASE) as session:
            [(newest,)] = session.execute("SELECT max(id) FROM visit").fetchall()
    lost = [(at, number) for at, number in acknowledged if number > newest]
    seconds = lost[-1][0] - lost[0][0] if lost else 0.0
    return f"{len(lost)} of {len(acknowledged)} acknowledged commits are lost, {seconds * 1000:.0f} ms"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024)

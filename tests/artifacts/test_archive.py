"""Recovery to a point in time with real servers: what comes back, and what happens to the archive if its process, the
server, the volume or the replication slot fails.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.artifacts.archive_process import ARCHIVE, Archive, archive_of, now
from tests.artifacts.postgres_server import ADMIN_PASSWORD, Installation, Server, running_server
from tests.artifacts.postgres_start import container, descendants, until
from tests.artifacts.provisioning_task import ASSETS
from tests.full_run import only_in_full_runs

pytestmark = only_in_full_runs

RDV, USER = "pti_rdv", "pti_user"


@pytest.fixture
def server(slow_installation: Installation) -> Iterator[Server]:
    """A server of its own."""
    with running_server(slow_installation) as server:
        yield server


@pytest.fixture
def archive(server: Server) -> Iterator[Archive]:
    """Two databases with a table, and an archive that hasn't been started."""
    with archive_of(server, RDV, USER) as archive:
        for database in (RDV, USER):
            with archive.task.connect(database, f"{database}_migrator") as migrator:
                migrator.execute("CREATE TABLE visit (id bigint GENERATED ALWAYS AS IDENTITY, note text)")
        yield archive


def add(archive: Archive, *notes: str, database: str = RDV) -> None:
    """Insert rows, each in a transaction of its own."""
    with archive.server.connect(database) as admin:
        for note in notes:
            admin.execute("INSERT INTO visit (note) VALUES (%s)", [note])


def notes(archive: Archive, database: str = RDV) -> list[str]:
    """Return the rows."""
    with archive.server.connect(database) as admin:
        return [note for (note,) in admin.execute("SELECT note FROM visit ORDER BY id").fetchall()]


def moment() -> str:
    """Return a time between two transactions."""
    time.sleep(0.01)
    found = now()
    time.sleep(0.01)
    return found


def test_the_rows_before_a_wrong_delete_come_back_in_one_database_only(archive: Archive) -> None:
    archive.start_with_base()
    add(archive, "one", "two")
    add(archive, "other", database=USER)
    before = moment()
    with archive.server.connect(RDV) as admin:
        admin.execute("DELETE FROM visit")
    add(archive, "later")
    add(archive, "other later", database=USER)
    plan = archive.recover(before, RDV, confirm=False)
    assert plan.status == 0, plan.errors
    assert "visit" in plan.output
    assert notes(archive) == ["later"]
    outcome = archive.recover(before, RDV)
    assert outcome.status == 0, outcome.errors
    assert notes(archive) == ["one", "two"]
    assert notes(archive, USER) == ["other", "other later"]
    with archive.server.connect("postgres") as admin:
        kept = admin.execute("SELECT datname FROM pg_database WHERE datname LIKE 'replaced%'").fetchall()
    assert len(kept) == 1
    # As in the container of the backups, before the first one.
    archive.environment["BACKUP_DIR"] = str(archive.volume / "backups")
    dropped = archive.run("restore.sh", "--drop-replaced")
    assert (dropped.status, dropped.output) == (0, f"database {kept[0][0]}: dropped\n"), dropped.errors


def test_under_load_every_commit_before_the_time_comes_back_and_none_after_it(archive: Archive) -> None:
    archive.start_with_base()
    stop = threading.Event()
    acknowledged: list[tuple[str, str, str]] = []

    def write(writer: int) -> None:
        with archive.server.connect(RDV) as session:
            for number in itertools.count():
                note = f"{writer}-{number}"
                began = now()
                session.execute("INSERT INTO visit (note) VALUES (%s)", [note])
                acknowledged.append((note, began, now()))
                if stop.is_set():
                    return

    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, writer) for writer in range(3)]
        until(lambda: len(acknowledged) > 300)
        base = archive.base()
        assert base.status == 0, base.errors
        seen = len(acknowledged)
        until(lambda: len(acknowledged) > seen + 300)
        before = now()
        with archive.server.connect(RDV) as admin:
            admin.execute("DELETE FROM visit")
        until(lambda: len(acknowledged) > seen + 600)
        stop.set()
        for one in writers:
            one.result()
    outcome = archive.recover(before, RDV)
    assert outcome.status == 0, outcome.errors
    found = set(notes(archive))
    assert {note for note, _, ended in acknowledged if ended < before} <= found
    assert found <= {note for note, began, _ in acknowledged if began < before}


def test_a_killed_receiver_continues_its_chain_and_nothing_is_lost(archive: Archive) -> None:
    base = archive.start_with_base()
    add(archive, "one")
    archive.kill()
    add(archive, "while it was away")
    archive.start()
    add(archive, "last")
    outcome = archive.recover(now(), RDV)
    assert outcome.status == 0, outcome.errors
    assert notes(archive) == ["one", "while it was away", "last"]
    assert (len(archive.chains()), archive.bases()) == (1, [base])
    assert archive.run("points.sh", "--verify").status == 0


def test_the_exporter_reads_its_state(archive: Archive) -> None:
    queries = yaml.safe_load((ASSETS / "exporter_queries.yml").read_text())
    base = archive.start_with_base()
    with archive.server.connect() as admin:
        [row] = admin.execute(queries["pti_archive"]["query"]).fetchall()
        taken_at = datetime.strptime(base, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        assert (taken_at <= row[0] < taken_at + 60, row[1:]) == (True, (0, 0))
        [(active, kept)] = admin.execute(queries["pti_archive_slot"]["query"]).fetchall()
        assert (active, kept < 16 * 1024 * 1024) == (1, True)
        archive.kill()
        until(lambda: admin.execute(queries["pti_archive_slot"]["query"]).fetchall()[0][0] == 0)
        add(archive, "note")
        [(_, later)] = admin.execute(queries["pti_archive_slot"]["query"]).fetchall()
        assert later > kept


def test_the_archive_stops_at_once_on_a_signal(archive: Archive) -> None:
    archive.start_with_base()
    began = time.monotonic()
    assert archive.stop() == 143
    assert time.monotonic() - began < 8
    assert "schedule: stopped\n" in archive.log


def test_what_was_received_comes_back_after_the_server_is_lost(
    archive: Archive, slow_installation: Installation
) -> None:
    archive.start_with_base()
    add(archive, "one", "two")
    # The position of the slot is what the receiver has synced.
    with archive.server.connect() as admin:
        until(
            lambda: admin.execute(
                "SELECT FROM pg_replication_slots WHERE restart_lsn >= %s::pg_lsn", [written_until(archive)]
            ).fetchall()
        )
    with running_server(slow_installation) as other, archive_of(other, RDV, USER, volume=archive.volume) as restored:
        archive.kill()
        with restored.task.connect(RDV, f"{RDV}_migrator") as migrator:
            migrator.execute("CREATE TABLE visit (id bigint GENERATED ALWAYS AS IDENTITY, note text)")
        outcome = restored.recover("latest")
        assert outcome.status == 0, outcome.errors
        assert notes(restored) == ["one", "two"]
        # The servers of the tests are copies of one cluster.
        (restored.chains()[0] / "system").write_text("1\n")
        recovery = restored.directory / "incomplete.recovery"
        recovery.mkdir()
        restored.start()
        until(lambda: len(restored.bases()) == 2, details=[restored.log])
        assert "the server is another one" in (restored.chains()[0] / "broken").read_text()
        # A recovery that is running while a chain begins.
        assert recovery.exists()

        # Now the newest base backup is of the new server.
        until(lambda: " is in progress" not in restored.run("scheduler.sh", "status").output, details=[restored.log])
        with restored.server.connect(RDV) as admin:
            admin.execute("TRUNCATE visit")
        recovery.rmdir()
        outcome = restored.recover("latest")
        assert (outcome.status, notes(restored)) == (0, []), outcome
        assert "Changes of the server before it" in outcome.errors
        outcome = restored.recover(restored.points()[0]["until"])
        assert (outcome.status, notes(restored)) == (0, ["one", "two"]), outcome.errors
        restored.kill()


def written_until(archive: Archive) -> str:
    """Return the position up to which the server has written WAL."""
    with archive.server.connect() as admin:
        [(position,)] = admin.execute("SELECT pg_current_wal_flush_lsn()::text").fetchall()
    return str(position)


def test_a_server_crash_breaks_nothing(image_installation: Installation) -> None:
    with container(image_installation) as running:
        running.password = ADMIN_PASSWORD
        running.start_and_connect().close()
        server = Server(running.port, running.home / "log", running.programs)
        with archive_of(server, RDV, USER) as archive:
            with archive.task.connect(RDV, f"{RDV}_migrator") as migrator:
                migrator.execute("CREATE TABLE visit (id bigint GENERATED ALWAYS AS IDENTITY, note text)")
            archive.start_with_base()
            add(archive, "one")
            running.kill()
            until(lambda: archive.ready().status == 1)
            running.start_and_connect().close()
            until(lambda: archive.ready().status == 0, details=[archive.log])
            add(archive, "two")
            outcome = archive.recover(now(), RDV)
            assert outcome.status == 0, outcome.errors
            assert (notes(archive), len(archive.chains())) == (["one", "two"], 1)
            archive.kill()


def lose_slot(archive: Archive) -> None:
    """Write more WAL than the server keeps for a receiver that is away."""
    with archive.server.connect() as admin:
        admin.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        admin.execute("SELECT pg_reload_conf()")
        for _ in range(4):
            admin.execute("CREATE TABLE filler AS SELECT 1")
            admin.execute("DROP TABLE filler")
            admin.execute("SELECT pg_switch_wal()")
        admin.execute("CHECKPOINT")
        [(status,)] = admin.execute("SELECT wal_status FROM pg_replication_slots").fetchall()
        assert status == "lost"
        admin.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
        admin.execute("SELECT pg_reload_conf()")


def test_a_lost_slot_begins_a_new_chain_with_a_base_backup_and_keeps_the_old_one(archive: Archive) -> None:
    first = archive.start_with_base()
    add(archive, "one")
    before = moment()
    add(archive, "two")
    until(lambda: archive.points()[0]["until"] > before)
    archive.kill()
    add(archive, "three")
    lost = moment()
    lose_slot(archive)
    archive.start()
    archive.next_base([first])
    add(archive, "four")
    assert f"the chain {archive.chains()[0].name} is broken: the replication slot pti_archive is lost" in archive.log
    with archive.server.connect() as admin:
        assert admin.execute("SELECT FROM backups.archive WHERE broken_at > now() - interval '1 min'").fetchall()
    refused = archive.recover(lost, RDV)
    assert refused.status == 1
    assert f"{lost} can't be recovered" in refused.errors
    outcome = archive.recover(now(), RDV)
    assert (outcome.status, notes(archive)) == (0, ["one", "two", "three", "four"]), outcome.errors
    outcome = archive.recover(before, RDV)
    assert (outcome.status, notes(archive)) == (0, ["one"]), outcome.errors


def test_a_hole_in_the_wal_is_found_before_a_recovery_needs_it(archive: Archive) -> None:
    archive.start_with_base()
    for number in range(3):
        add(archive, f"note {number}")
        with archive.server.connect() as admin:
            admin.execute("SELECT pg_switch_wal()")
    add(archive, "last")
    after = moment()
    until(lambda: archive.points()[0]["until"] > after)
    assert archive.run("points.sh").status == 0
    [*_, hole, _] = archive.segments()
    hole.unlink()
    found = archive.run("points.sh")
    assert (found.status, f"missing WAL: {hole.name}\n" in found.output) == (1, True), found
    [point] = archive.points()
    assert (point["missing"], point["until"] < after) == ([hole.name], True)
    refused = archive.recover(after, RDV)
    assert (refused.status, notes(archive)) == (1, ["note 0", "note 1", "note 2", "last"])
    assert point["until"] in refused.errors
    base = archive.base()
    assert base.status == 1
    assert hole.name in base.errors
    with archive.server.connect() as admin:
        assert admin.execute("SELECT holes FROM backups.archive").fetchall() == [(1,)]
    # From the new base backup on, everything can be recovered again.
    add(archive, "newest")
    outcome = archive.recover(now(), RDV)
    assert (outcome.status, notes(archive)[-1]) == (0, "newest"), outcome.errors


def test_a_flipped_bit_in_a_base_backup_is_found_and_an_older_one_is_used(archive: Archive) -> None:
    first = archive.start_with_base()
    add(archive, "one")
    assert archive.base().status == 0
    second = archive.next_base([first])
    add(archive, "two")
    flip_bit(largest_file(archive.chains()[0] / "base" / second / "data" / "base"))
    found = archive.run("points.sh", "--verify")
    assert (found.status, "damaged: the base backup" in found.output) == (1, True), found
    outcome = archive.recover(now(), RDV)
    assert (outcome.status, notes(archive)) == (0, ["one", "two"]), outcome.errors
    assert f"base backup {second} is damaged and not used" in outcome.errors
    flip_bit(largest_file(archive.chains()[0] / "base" / first / "data" / "base"))
    refused = archive.recover(now(), RDV)
    assert (refused.status, notes(archive)) == (1, ["one", "two"])


def test_a_flipped_bit_in_the_wal_fails_a_recovery_instead_of_shortening_it(archive: Archive) -> None:
    archive.start_with_base()
    add(archive, "one")
    with archive.server.connect() as admin:
        [(position,)] = admin.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchall()
    add(archive, "two")
    with archive.server.connect() as admin:
        admin.execute("SELECT pg_switch_wal()")
    add(archive, "three")
    after = moment()
    until(lambda: archive.points()[0]["until"] > after)
    flip_bit(archive.segments()[-1], at=int(position) % (16 * 1024 * 1024) + 30)
    found = archive.run("points.sh", "--verify")
    assert (found.status, "damaged: the WAL" in found.output) == (1, True), found
    for to in (after, "latest"):
        refused = archive.recover(to, RDV)
        assert (refused.status, notes(archive)) == (1, ["one", "two", "three"]), refused
    assert archive.bases()
    assert not list(archive.directory.glob("incomplete.*"))


def largest_file(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip_bit(path: Path, at: int | None = None) -> None:
    """Change one bit, in the middle by default."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    path.write_bytes(content)


def test_a_full_volume_stops_the_receiver_with_its_reason_until_there_is_space(server: Server) -> None:
    volume = Path(tempfile.mkdtemp(prefix="pti-archive-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m,mode=777", "tmpfs", str(volume)], check=True)
    try:
        with archive_of(server, RDV, USER, volume=volume) as archive:
            with archive.task.connect(RDV, f"{RDV}_migrator") as migrator:
                migrator.execute("CREATE TABLE visit (id bigint GENERATED ALWAYS AS IDENTITY, note text)")
            archive.start_with_base()
            filler = volume / "filler"
            free = shutil.disk_usage(volume).free
            filler.write_bytes(bytes(free - 9 * 1024 * 1024))
            for number in range(2):
                add(archive, f"note {number}")
                with server.connect() as admin:
                    admin.execute("SELECT pg_switch_wal()")
            until(lambda: "MiB are needed" in archive.ready().output, details=[archive.log])
            assert "No space left on device" in archive.log
            failed = archive.base()
            assert (failed.status, "MiB are needed" in failed.errors) == (1, True), failed.errors
            filler.unlink()
            until(lambda: archive.ready().status == 0, details=[archive.log])
            add(archive, "last")
            after = moment()
            until(lambda: archive.points()[0]["until"] > after, details=[archive.log])
            assert (len(archive.chains()), archive.points()[0]["missing"]) == (1, [])
            archive.kill()
    finally:
        subprocess.run(["umount", str(volume)], check=True)
        volume.rmdir()


def test_a_time_outside_of_the_archive_is_refused_with_the_recoverable_times(archive: Archive) -> None:
    before = moment()
    archive.start_with_base()
    add(archive, "one")
    for time_outside in (before, "2999-01-01T00:00:00Z"):
        refused = archive.recover(time_outside, RDV)
        assert refused.status == 1
        [point] = archive.points()
        assert f"from {point['from']} to " in refused.errors
    for mistake in ("yesterday", "2026-02-30T00:00:00Z", "2026-11-29 12:00:00"):
        assert archive.recover(mistake, RDV).status == 1
    unknown = archive.recover(now(), "pti_unknown")
    assert (unknown.status, 'no database "pti_unknown"' in unknown.errors) == (1, True), unknown.errors
    assert notes(archive) == ["one"]
    assert not list(archive.directory.glob("incomplete.*"))


def test_runs_do_not_overlap_and_a_killed_recovery_leaves_nothing_in_the_way(archive: Archive) -> None:
    archive.start_with_base()
    add(archive, "one")
    time_before = moment()
    script = str(archive.assets / "recover.sh")
    running = archive.begin("scheduler.sh", "run", "sh", script, "--to", time_before, "--all", "--confirm")
    until(lambda: (archive.directory / "incomplete.recovery").exists())
    second = archive.base()
    assert (second.status, "is in progress" in second.errors) == (1, True), second.errors
    for pid in descendants(running.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    running.kill()
    running.communicate()
    add(archive, "two")
    outcome = archive.recover(time_before, RDV)
    assert (outcome.status, notes(archive)) == (0, ["one"]), outcome.errors
    assert not list(archive.directory.glob("incomplete.*"))


def test_old_base_backups_are_deleted_with_the_wal_that_only_they_need(archive: Archive) -> None:
    first = archive.start_with_base()
    add(archive, "one")
    with archive.server.connect() as admin:
        admin.execute("SELECT pg_switch_wal()")
    archive.environment |= {"ARCHIVE_KEEP_COUNT": "1", "ARCHIVE_KEEP_DAYS": "2"}
    assert archive.base().status == 0
    second = archive.next_base([first])
    with archive.server.connect() as admin:
        admin.execute("SELECT pg_switch_wal()")
    # Times up to its successor are recovered from a base backup, so it is as old as its successor.
    rename(archive, first, first := f"20200101{first[8:]}")
    assert archive.base().status == 0
    third = archive.next_base([first, second])
    assert archive.bases() == [first, second, third]
    rename(archive, second, second := f"20200102{second[8:]}")
    assert archive.base().status == 0
    fourth = archive.next_base([first, second, third])
    assert archive.bases() == [second, third, fourth]
    [oldest, *_] = archive.points()
    assert (oldest["base"], oldest["missing"]) == (second, [])
    wal = (archive.chains()[0] / "base" / second / "info").read_text().split("wal=")[1].split("\n")[0]
    assert archive.segments()[0].name == wal
    outcome = archive.recover("latest", RDV)
    assert (outcome.status, notes(archive)) == (0, ["one"]), outcome.errors


def rename(archive: Archive, old: str, new: str) -> None:
    """Give a base backup another time."""
    bases = archive.chains()[0] / "base"
    (bases / old).rename(bases / new)


def test_its_role_reads_no_table_and_can_no_longer_log_in_without_the_archive(archive: Archive) -> None:
    archive.start_with_base()
    with archive.task.connect("postgres", ARCHIVE) as session:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("SELECT * FROM backups.last_success")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("CREATE TABLE own ()")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        archive.task.connect(RDV, ARCHIVE)
    del archive.task.passwords[ARCHIVE]
    outcome = archive.task.run()
    assert outcome.status == 0, outcome.errors
    with archive.server.connect() as admin:
        assert admin.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [ARCHIVE]).fetchall() == [(False,)]
        assert admin.execute("SELECT FROM pg_replication_slots").fetchall() == []
    again = archive.task.run()
    assert "pti_archive" not in again.output

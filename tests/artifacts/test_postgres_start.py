"""How PostgreSQL's container starts: on an empty volume, on existing data, after a crash, on a full disk."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from testbed import ext4
from tests.artifacts.postgres_server import Installation, give_to_unprivileged_user
from tests.artifacts.postgres_start import PASSWORD, Container, container, descendants, process_titled, until
from tests.artifacts.provisioning_task import ASSETS
from tests.failures import FailureRecord
from tests.full_run import only_in_full_runs


@pytest.fixture
def store(image_installation: Installation) -> Iterator[Container]:
    """A container with an empty volume."""
    with container(image_installation) as one:
        yield one


@pytest.fixture(scope="session")
def stopped_volume(image_installation: Installation) -> Iterator[Path]:
    """The volume of a stopped container, with an empty table `container_with_data`."""
    with container(image_installation) as one:
        with one.start_and_connect() as session:
            session.execute("CREATE TABLE kept (id int, filling text)")
        assert one.stop() == 0
        yield one.volume


@pytest.fixture
def container_with_data(store: Container, stopped_volume: Path) -> Container:
    """A container that hasn't been started, and a copy of that volume."""
    subprocess.run(["cp", "-a", f"{stopped_volume}/.", str(store.volume)], check=True)
    return store


def count_rows(session: psycopg.Connection[tuple[object, ...]]) -> int:
    """Return the number of rows in the test's table."""
    found = session.execute("SELECT count(*) FROM kept").fetchone()
    assert found is not None
    count = found[0]
    assert isinstance(count, int)
    return count


def pause_recovery(store: Container) -> int:
    """Return the process that replays the log, paused as soon as it exists."""
    found: list[int] = []

    def stop_recovery() -> bool:
        pid = process_titled(store.data, "postgres: startup recovering")
        if pid is not None:
            os.kill(pid, signal.SIGSTOP)
            found.append(pid)
        return pid is not None

    until(stop_recovery)
    return found[0]


def test_an_empty_volume_gets_a_cluster_whose_superuser_has_the_password(store: Container) -> None:
    with store.start_and_connect() as session:
        session.execute("CREATE TABLE kept (id int)")
    assert store.marker.read_text() == f"postgres major={store.programs.major}\n"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        store.connect("another")


@only_in_full_runs
def test_only_the_volume_is_written_to_disk(store: Container) -> None:
    """`sync` alone waits for every file system of the machine, however much other containers write."""
    recorder, calls = store.home / "bin" / "sync", store.home / "socket" / "calls"
    recorder.parent.mkdir()
    recorder.write_text(f'#!/bin/sh\necho "$@" >>{calls}\nPATH={os.defpath} exec sync "$@"\n')
    recorder.chmod(0o755)
    store.start_and_connect().close()
    assert calls.read_text().splitlines() == [f"-f {store.data}", f"-f {store.marker}"]


@only_in_full_runs
def test_existing_data_gets_the_current_password(container_with_data: Container) -> None:
    container_with_data.password = "tomorrow's: \\ $1"
    with container_with_data.start_and_connect() as session:
        assert count_rows(session) == 0
    assert container_with_data.password not in container_with_data.log
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        container_with_data.connect(PASSWORD)


@only_in_full_runs
def test_a_killed_first_start_is_repeated(store: Container) -> None:
    half = store.data.with_name("docker.new")
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text(f"{store.programs.major}\n")
    give_to_unprivileged_user(half.parent, half, half / "PG_VERSION")
    with store.start_and_connect() as session:
        assert session.execute("SELECT 1").fetchall() == [(1,)]
    assert not half.exists()


@only_in_full_runs
def test_a_killed_first_start_is_repeated_on_a_real_server(store: Container, failure_record: FailureRecord) -> None:
    failure_record.begin("PostgreSQL's first start is killed", on="PostgreSQL", effect="the next start begins again")
    process = store.start()
    until(lambda: any((store.volume / str(store.programs.major)).glob("docker.new/PG_VERSION")))
    store.kill()
    assert process.returncode != 0
    assert not store.marker.exists()
    with failure_record.measure_recovery(), store.start_and_connect() as session:
        assert session.execute("SELECT 1").fetchall() == [(1,)]
    failure_record.set_lost("nothing: there was no data yet")


@only_in_full_runs
def test_a_volume_that_held_data_gets_no_empty_cluster(
    container_with_data: Container, failure_record: FailureRecord
) -> None:
    effect = "it doesn't start; its log describes how to start with an empty cluster"
    failure_record.begin("PostgreSQL's volume has lost its data directory", on="PostgreSQL", effect=effect)
    shutil.rmtree(container_with_data.data)
    output = container_with_data.start_refused()
    assert f"this volume contained data (postgres major={container_with_data.programs.major})" in output
    assert f"delete {container_with_data.marker}" in output
    assert not container_with_data.data.exists()

    container_with_data.data.mkdir()  # An empty mount point.
    give_to_unprivileged_user(container_with_data.data)
    assert "this volume contained data" in container_with_data.start_refused()
    assert [*container_with_data.data.iterdir()] == []
    failure_record.set_lost("nothing more: no empty cluster replaces the data")

    container_with_data.marker.unlink()
    container_with_data.start_and_connect().close()
    assert container_with_data.marker.exists()


@only_in_full_runs
def test_data_from_before_the_marker_is_adopted(container_with_data: Container) -> None:
    container_with_data.marker.unlink()
    with container_with_data.start_and_connect() as session:
        assert count_rows(session) == 0
    assert container_with_data.marker.exists()


def test_a_damaged_data_directory_is_left_as_it_is(
    container_with_data: Container, failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "PostgreSQL's data directory is damaged", on="PostgreSQL", effect="it doesn't start; its log shows the reason"
    )
    container_with_data.marker.unlink()
    (container_with_data.data / "PG_VERSION").unlink()
    before = sorted(container_with_data.data.rglob("*"))
    assert "contains files but no cluster: PG_VERSION is missing" in container_with_data.start_refused()
    assert sorted(container_with_data.data.rglob("*")) == before
    failure_record.set_lost("nothing more: the files aren't changed")


def test_data_of_another_major_version_is_refused(store: Container, failure_record: FailureRecord) -> None:
    failure_record.begin(
        "The image has another major version than the data",
        on="PostgreSQL",
        effect="it doesn't start; its log shows the reason",
    )
    other = store.volume / "14" / "docker"
    other.mkdir(parents=True)
    (other / "PG_VERSION").write_text("14\n")
    assert "this volume contains data of PostgreSQL 14, but this image has another version" in store.start_refused()
    assert not store.data.exists()
    assert (other / "PG_VERSION").read_text() == "14\n"
    failure_record.set_lost("nothing")


@only_in_full_runs
def test_a_group_readable_data_directory_is_made_private(container_with_data: Container) -> None:
    """A kubelet that sets a volume's `fsGroup` makes its files accessible to the group."""
    container_with_data.data.chmod(0o2770)
    container_with_data.start_and_connect().close()


@only_in_full_runs
class TestCrash:
    """A server that is killed during writes and replays 110 MiB of WAL, which takes long enough to observe."""

    @pytest.fixture
    def crashed_container(self, container_with_data: Container) -> Container:
        container_with_data.settings = {"max_wal_size": "4GB", "checkpoint_timeout": "1h", "shared_buffers": "1MB"}
        with container_with_data.start_and_connect() as session:
            session.execute("INSERT INTO kept SELECT n, repeat('x', 1000) FROM generate_series(1, 100000) n")
        container_with_data.kill()
        return container_with_data

    @pytest.fixture
    def recovering_container(self, crashed_container: Container) -> tuple[Container, int]:
        """The container with its recovery paused, and the recovery process."""
        crashed_container.start()
        return crashed_container, pause_recovery(crashed_container)

    def test_a_recovering_server_reports_its_progress_and_is_alive(
        self, recovering_container: tuple[Container, int]
    ) -> None:
        store, pid = recovering_container
        ready = store.run("ready.sh")
        assert ready.returncode == 1
        found = re.fullmatch(r"recovering: (\d+) of at most (\d+) WAL files replayed \([0-9A-F]{24}\)\n", ready.stdout)
        assert found is not None, (ready.stdout, ready.stderr)
        assert 0 <= int(found[1]) < int(found[2])
        assert 6 <= int(found[2]) <= 30

        os.kill(pid, signal.SIGCONT)
        until(lambda: store.run("ready.sh").returncode == 0)
        assert store.run("alive.sh").returncode == 0
        with store.connect() as session:
            assert count_rows(session) == 100_000

    def test_a_stop_during_recovery_loses_nothing(
        self, recovering_container: tuple[Container, int], failure_record: FailureRecord
    ) -> None:
        store, pid = recovering_container
        effect = "the recovery of 110 MiB of WAL begins again"
        failure_record.begin("PostgreSQL is stopped while it recovers from a crash", on="PostgreSQL", effect=effect)
        assert store.process is not None
        store.process.send_signal(signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)
        assert store.process.wait(timeout=60) == 143
        assert descendants(store.process.pid) == []
        with failure_record.measure_recovery(), store.start_and_connect() as session:
            assert count_rows(session) == 100_000
        failure_record.set_lost("nothing: 100,000 of 100,000 rows")


@only_in_full_runs
def test_a_server_that_recovers_by_itself_is_alive(
    container_with_data: Container, failure_record: FailureRecord
) -> None:
    """One killed session causes a recovery without a restart of the server."""
    effect = "sessions end; PostgreSQL isn't ready while it replays 110 MiB of WAL, and it isn't restarted"
    failure_record.begin("One session of PostgreSQL is killed", on="PostgreSQL", effect=effect)
    container_with_data.settings = {"max_wal_size": "4GB", "checkpoint_timeout": "1h", "shared_buffers": "1MB"}
    with container_with_data.start_and_connect() as session:
        session.execute("INSERT INTO kept SELECT n, repeat('x', 1000) FROM generate_series(1, 100000) n")
        failure_record.mark_failure()
        os.kill(session.info.backend_pid, signal.SIGKILL)
    assert container_with_data.process is not None
    pid = pause_recovery(container_with_data)
    assert (container_with_data.run("alive.sh").returncode, container_with_data.run("ready.sh").returncode) == (0, 1)
    os.kill(pid, signal.SIGCONT)
    until(lambda: container_with_data.run("ready.sh").returncode == 0)
    failure_record.mark_recovery()
    with container_with_data.connect() as session:
        assert count_rows(session) == 100_000
    failure_record.set_lost("nothing: 100,000 of 100,000 rows")


def write_until_full(session: psycopg.Connection[tuple[object, ...]]) -> int:
    """Write until the server refuses, and return the number of acknowledged rows."""
    acknowledged = 0
    while True:
        try:
            session.execute("INSERT INTO kept SELECT n, repeat('x', 1000) FROM generate_series(1, 1000) n")
        except psycopg.OperationalError:
            return acknowledged
        acknowledged += 1000


@pytest.fixture
def small_disk(store: Container, tmp_path: Path) -> Iterator[Path]:
    """Return the image of the container's volume, a separate file system of 256 MiB."""
    if reason := ext4.why_unavailable():
        pytest.skip(reason)
    image = tmp_path / "disk"
    ext4.mount(image, store.volume, 256)
    give_to_unprivileged_user(store.volume)
    try:
        yield image
    finally:
        store.kill()
        if store.volume.is_mount():
            ext4.unmount(store.volume)


@only_in_full_runs
def test_acknowledged_rows_survive_a_full_disk(
    store: Container, small_disk: Path, failure_record: FailureRecord
) -> None:
    effect = "writes fail, then the server stops; it starts again once the volume has grown"
    failure_record.begin("PostgreSQL's disk is full", on="PostgreSQL", effect=effect)
    store.settings = {"max_wal_size": "64MB", "min_wal_size": "32MB"}
    with store.start_and_connect() as session:
        session.execute("CREATE TABLE kept (id int, filling text)")
        acknowledged = write_until_full(session)
    assert acknowledged > 50_000
    assert "No space left on device" in store.log

    store.kill()
    ext4.unmount(store.volume)
    ext4.grow(small_disk, 512)
    ext4.mount(small_disk, store.volume, 512)
    with failure_record.measure_recovery(), store.start_and_connect() as session:
        assert count_rows(session) == acknowledged
        failure_record.set_lost("nothing: every acknowledged row still exists")
        session.execute("INSERT INTO kept VALUES (0, 'more')")


class TestProbesWithoutServer:
    """The scripts of the probes with a `pg_isready` of the test's own, or none."""

    @pytest.fixture
    def programs(self, tmp_path: Path) -> Path:
        """The only directory of the container's PATH."""
        (tmp_path / "bin").mkdir()
        return tmp_path / "bin"

    @staticmethod
    def answers(programs: Path, code: int) -> None:
        """Add a `pg_isready` with this exit code."""
        (programs / "pg_isready").write_text(f"#!/bin/sh\nexit {code}\n")
        (programs / "pg_isready").chmod(0o755)

    @staticmethod
    def run(programs: Path, script: str) -> subprocess.CompletedProcess[str]:
        """Run a probe's script."""
        command = ["/bin/sh", str(ASSETS / script)]
        return subprocess.run(command, env={"PATH": str(programs)}, capture_output=True, text=True, check=False)

    # The exit codes that PostgreSQL documents: 1 rejects connections, 2 doesn't respond, 3 makes no attempt.
    @pytest.mark.parametrize(("code", "is_alive"), [(0, True), (1, True), (2, False), (3, True)])
    def test_only_a_server_that_does_not_respond_is_dead(self, programs: Path, code: int, is_alive: bool) -> None:
        self.answers(programs, code)
        assert (self.run(programs, "alive.sh").returncode == 0) == is_alive

    @pytest.mark.parametrize("mode", [None, 0o644], ids=["missing", "not executable"])
    def test_a_check_that_cannot_be_executed_is_not_a_dead_server(self, programs: Path, mode: int | None) -> None:
        if mode is not None:
            self.answers(programs, 2)
            (programs / "pg_isready").chmod(mode)
        assert self.run(programs, "alive.sh").returncode == 0
        unready = self.run(programs, "ready.sh")
        assert unready.returncode in (126, 127)
        assert "pg_isready" in unready.stderr
        assert unready.stdout == ""

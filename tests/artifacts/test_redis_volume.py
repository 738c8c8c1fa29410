"""Redis on its volume: existing data, missing data, a full disk, a long recovery."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.artifacts.redis_volume import USER, RedisOnVolume, new_ext4, until
from tests.failures import FailureRecord
from tests.full_run import only_in_full_runs

MARKER = ".pti-calendar-data"
StartRedis = Callable[..., RedisOnVolume]


@pytest.fixture
def volume() -> Iterator[Path]:
    """An empty volume that the server may write to."""
    path = Path(tempfile.mkdtemp(prefix="pti-volume-"))
    if os.geteuid() == 0:
        os.chown(path, USER, USER)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def start_redis() -> Iterator[StartRedis]:
    """Return a function that starts servers, which are stopped after the test."""
    made: list[RedisOnVolume] = []

    def make(mount: Path, **options: Any) -> RedisOnVolume:
        made.append(RedisOnVolume(mount, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


def server_with_data(start_redis: StartRedis, volume: Path) -> RedisOnVolume:
    """Return a stopped server that has stored one key."""
    server = start_redis(volume).start()
    assert server.command("SET", "kept", "yes") == "+OK"
    server.stop()
    return server


def move_to_root(server: RedisOnVolume) -> None:
    """Move the data to the location in earlier versions of the stack: the root of the volume."""
    for path in server.data.iterdir():
        path.rename(server.mount / path.name)
    server.data.rmdir()
    (server.mount / MARKER).unlink()


def test_redis_starts_on_a_new_ext4_file_system_and_keeps_its_data_there() -> None:
    with new_ext4(32) as mount, closing(RedisOnVolume(mount)) as server:
        server.start()
        assert server.command("SET", "kept", "yes") == "+OK"
        server.stop()
        assert {path.name for path in mount.iterdir()} == {"lost+found", "redis", MARKER}
        server.start()
        assert server.command("GET", "kept") == "yes"


def test_data_in_the_root_of_the_volume_is_moved_below_it(start_redis: StartRedis, volume: Path) -> None:
    server = server_with_data(start_redis, volume)
    move_to_root(server)
    (volume / "dump.rdb").write_text("a snapshot from before")
    server.start()
    assert server.command("GET", "kept") == "yes"
    assert {path.name for path in volume.iterdir()} == {"redis", MARKER}
    assert (server.data / "dump.rdb").read_text() == "a snapshot from before"


@only_in_full_runs
def test_an_interrupted_move_continues(start_redis: StartRedis, volume: Path, failure_record: FailureRecord) -> None:
    effect = "nothing: the next start completes it"
    failure_record.begin("A start that moves Redis' data is killed", on="Redis", effect=effect)
    server = server_with_data(start_redis, volume)
    move_to_root(server)
    (volume / "dump.rdb").write_text("a snapshot from before")
    server.data.mkdir()
    (volume / "dump.rdb").rename(server.data / "dump.rdb")
    if os.geteuid() == 0:
        os.chown(server.data, USER, USER)
    with failure_record.measure_recovery():
        server.start()
    assert server.command("GET", "kept") == "yes"
    failure_record.set_lost("nothing")
    assert {path.name for path in volume.iterdir()} == {"redis", MARKER}


def test_data_at_both_places_is_refused_and_not_changed(start_redis: StartRedis, volume: Path) -> None:
    server = server_with_data(start_redis, volume)
    other = volume / "appendonlydir"
    other.mkdir()
    (other / "another").write_text("log")
    message = server.start_refused()
    assert f"{other} and {server.data}/appendonlydir both exist" in message
    assert (other / "another").read_text() == "log"
    shutil.rmtree(other)
    server.start()
    assert server.command("GET", "kept") == "yes"


def test_without_its_log_a_volume_that_held_data_is_not_started_empty(
    start_redis: StartRedis, volume: Path, failure_record: FailureRecord
) -> None:
    effect = "it doesn't start; its log describes how to start empty"
    failure_record.begin("Redis' volume has lost its data", on="Redis", effect=effect)
    server = server_with_data(start_redis, volume)
    away = volume.parent / f"{volume.name}-away"
    shutil.move(server.data, away)
    try:
        message = server.start_refused()
        assert f"{server.data} is empty or missing" in message
        assert MARKER in message
        assert not [*server.data.iterdir()]
    finally:
        shutil.rmtree(server.data)
        shutil.move(away, server.data)
    server.start()
    assert server.command("GET", "kept") == "yes"
    failure_record.set_lost("nothing: after the volume is restored, the data is available again")


def test_a_volume_that_only_lacks_its_log_is_not_started_empty(start_redis: StartRedis, volume: Path) -> None:
    server = server_with_data(start_redis, volume)
    (server.data / "dump.rdb").write_text("from before")
    shutil.rmtree(server.data / "appendonlydir")
    assert f"{server.data}/appendonlydir is missing" in server.start_refused()
    assert [path.name for path in server.data.iterdir()] == ["dump.rdb"]


def test_an_operator_can_choose_to_start_empty(start_redis: StartRedis, volume: Path) -> None:
    server = server_with_data(start_redis, volume)
    shutil.rmtree(server.data)
    (volume / MARKER).unlink()
    server.start()
    assert server.command("DBSIZE") == ":0"


def test_the_volume_of_another_store_is_refused(
    start_redis: StartRedis, volume: Path, failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "A store gets another store's volume", on="Redis", effect="it doesn't start; its log shows the reason"
    )
    (volume / MARKER).write_text("kafka brokers=1 mode=kraft\n")
    assert "contains the data of 'kafka brokers=1 mode=kraft', not of 'redis'" in start_redis(volume).start_refused()
    assert (volume / MARKER).read_text() == "kafka brokers=1 mode=kraft\n"
    failure_record.set_lost("nothing: the volume isn't changed")


def test_a_snapshot_without_a_log_is_not_ignored(start_redis: StartRedis, volume: Path) -> None:
    (volume / "dump.rdb").write_text("a snapshot")
    server = start_redis(volume)
    assert f"a snapshot, {server.data}/dump.rdb, but no append-only file" in server.start_refused()
    assert (server.data / "dump.rdb").read_text() == "a snapshot"


@only_in_full_runs
def test_leftovers_of_a_killed_rewrite_are_removed(start_redis: StartRedis, volume: Path) -> None:
    server = server_with_data(start_redis, volume)
    for name in ("temp-rewriteaof-bg-17.aof", "temp-23.rdb"):
        (server.data / name).write_text("half")
    server.start()
    assert {path.name for path in server.data.iterdir()} == {"appendonlydir"}


@only_in_full_runs
def test_a_failed_snapshot_does_not_stop_writes(start_redis: StartRedis, volume: Path) -> None:
    server = start_redis(volume).start()
    (server.data / "dump.rdb").mkdir()
    server.command("BGSAVE")
    until("the snapshot has failed", lambda: server.info("rdb_last_bgsave_status") == "err")
    assert server.command("SET", "key", "value") == "+OK"
    assert server.command("CONFIG", "GET", "save") == "save "


@only_in_full_runs
def test_a_sigkill_loses_nothing_that_is_in_the_log(
    start_redis: StartRedis, volume: Path, failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "Redis is killed (SIGKILL)", on="Redis", effect="it is unavailable until it has read its append-only file"
    )
    server = start_redis(volume).start()
    for number in range(500):
        assert server.command("SET", f"key-{number}", str(number)) == "+OK"
    # During a flush, Redis responds before it writes, for at most two seconds.
    until("the log is written", lambda: server.info("aof_buffer_length") == "0")
    with failure_record.measure_recovery():
        server.kill()
        server.start()
    assert server.command("DBSIZE") == ":500"
    failure_record.set_lost("nothing that was in the log: 500 of 500 keys")


@only_in_full_runs
def test_a_recovery_reports_its_progress(start_redis: StartRedis, volume: Path) -> None:
    server = start_redis(volume).start()
    server.command("EVAL", "for key = 1, 20000 do redis.call('set', key, key) end", "0")
    server.stop()
    # Microseconds per key: some ten seconds in all, for which no test waits.
    slow = start_redis(volume, extra="key-load-delay 500")
    slow.launch()
    until("it responds", lambda: "recovering: " in slow.readiness_check()[1])
    code, output = slow.readiness_check()
    assert code != 0
    assert output.endswith(" %\n")


@only_in_full_runs
def test_a_full_disk_refuses_writes_until_there_is_space(failure_record: FailureRecord) -> None:
    effect = "writes are refused while the disk is full; reads keep working"
    failure_record.begin("Redis' disk is full", on="Redis", effect=effect)
    with new_ext4(32) as mount, closing(RedisOnVolume(mount)) as server:
        server.start()
        filler = server.data / "filler"
        fill_disk(filler, leaving=4 << 20)
        acknowledged = 0
        while (answer := server.command("SET", f"key-{acknowledged}", "x" * 10_000)) == "+OK":
            acknowledged += 1
            assert acknowledged < 10_000, "the disk doesn't fill"
        assert answer.startswith("-MISCONF Errors writing to the AOF file: No space left on device")
        assert server.info("aof_last_write_status") == "err"
        code, output = server.readiness_check()
        assert (code, output.partition(" ")[0]) == (0, "MISCONF")
        assert server.command("GET", "key-0") == "x" * 10_000

        with failure_record.measure_recovery():
            filler.unlink()
            until("writes are accepted again", lambda: server.command("SET", "after", "yes") == "+OK")
        until("the log is written", lambda: server.info("aof_buffer_length") == "0")
        server.kill()
        server.start()
        missing = [n for n in range(acknowledged) if server.command("EXISTS", f"key-{n}") != ":1"]
        assert missing == []
        assert server.command("GET", "after") == "yes"
        failure_record.set_lost("nothing: every acknowledged key still exists")

        server.kill()
        fill_disk(filler, leaving=0)
        server.start()
        assert server.command("GET", "after") == "yes", "it starts on a full disk, too"


def fill_disk(filler: Path, *, leaving: int) -> None:
    """Fill the file's disk except for some bytes."""
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while shutil.disk_usage(filler.parent).free > leaving:
            file.write(bytes(4096))

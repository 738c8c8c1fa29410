"""Redis under a load that changes its data faster than the rewrite of its log can follow, within its memory limit."""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.docker_engine import docker
from tests.engine.waiting import until
from tests.failures import FailureRecord
from tests.unit.platform_recording import record_platform_once

DATA_MIB = 64
WRITES_PER_S = 20_000
VALUE_BYTES = 900
REWRITES = 2

BATCH = 200
DEADLINE_S = 180
SLOW_SAVE_SETTING = "rdb-key-save-delay 100"
"""Microseconds per key, as with a disk that writes 9 MB/s. All data is overwritten before a rewrite completes."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The name of a running Redis container with the stack's own files and limit."""
    platform = record_platform_once({"credentials": "well-known", "redis": {"maxMemoryMib": DATA_MIB}})
    workload, (files,) = platform.workloads["redis"], platform.workloads["redis"].file_sets
    for name, text in platform.files[f"redis/{files.name}"].items():
        (tmp_path / name).write_text(f"{text}\n{SLOW_SAVE_SETTING}\n" if name == "redis.conf" else text)
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith(os.environ.get("TMPDIR", "/tmp") + "/"):  # noqa: S108 - pytest's own
            folder.chmod(0o755)
    name = f"pti-test-redis-load-{secrets.token_hex(3)}"
    limit = f"{workload.memory_mib}m"
    try:
        docker(
            *("run", "--detach", "--name", name, "--memory", limit, "--memory-swap", limit),
            *("--user", str(workload.user), "--read-only", "--cap-drop", "ALL", "--publish", "127.0.0.1::6379"),
            *("--volume", f"{tmp_path}:{files.directory}:ro", "--volume", workload.volumes[0].mount),
            *(word for one in workload.scratch for word in ("--tmpfs", f"{one.path}:size={one.size_mib}m")),
            *("--entrypoint", workload.command[0], workload.image, *workload.command[1:]),
        )
        until("Redis responds", lambda: docker("exec", name, "redis-cli", "ping") == "PONG\n")
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


def test_a_rewrite_under_load_stays_within_the_memory_limit(server: str, failure_record: FailureRecord) -> None:
    effect = "nothing: its memory stays within the limit"
    failure_record.begin(
        "A full Redis rewrites its append-only file under 20,000 writes per second", on="Docker", effect=effect
    )
    address = docker("port", server, "6379").splitlines()[0].rsplit(":", 1)
    sent = _write(("127.0.0.1", int(address[1])), server)

    state = json.loads(docker("inspect", server))[0]["State"]
    assert state["Running"]
    assert not state["OOMKilled"]
    memory, kept = _info(server, "memory"), _info(server, "persistence")
    assert (kept["aof_last_bgrewrite_status"], kept["aof_last_write_status"]) == ("ok", "ok")
    assert int(memory["used_memory"]) > 0.9 * DATA_MIB * 2**20, "the memory was never full"
    failure_record.set_lost("nothing: every write was acknowledged, and the log is written")
    print(
        f"{sent} writes, {kept['aof_rewrites']} rewrites; resident {int(memory['used_memory_rss']) >> 20} MiB, "
        f"copied by the last rewrite {int(kept['aof_last_cow_size']) >> 20} MiB"
    )


def _write(address: tuple[str, int], server: str) -> int:
    """Write at the given rate until the rewrites complete; every write is acknowledged."""
    values, sent, started = os.urandom(1 << 20), 0, time.monotonic()
    with socket.create_connection(address, timeout=60) as connection:
        answers = connection.makefile("rb")
        while sent % WRITES_PER_S or int(_info(server, "persistence")["aof_rewrites"]) < REWRITES:
            assert time.monotonic() - started < DEADLINE_S, "the rewrites take too long"
            batch = []
            for _ in range(BATCH):
                at = random.randrange(len(values) - VALUE_BYTES)  # noqa: S311 - a position, no secret
                key = b"key:%09d" % random.randrange(DATA_MIB * 4000)  # noqa: S311
                value = values[at : at + VALUE_BYTES]
                batch.append(b"*4\r\n$5\r\nSETEX\r\n$13\r\n%s\r\n$4\r\n3600\r\n$900\r\n%s\r\n" % (key, value))
            connection.sendall(b"".join(batch))
            for _ in range(BATCH):
                assert answers.readline() == b"+OK\r\n"
            sent += BATCH
            time.sleep(max(0.0, started + sent / WRITES_PER_S - time.monotonic()))
    return sent


def _info(server: str, section: str) -> dict[str, str]:
    lines = docker("exec", server, "redis-cli", "info", section).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)

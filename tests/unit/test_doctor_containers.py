"""What is wrong with containers, as `docker inspect` shows them; the docker command is a stand-in."""

from __future__ import annotations

import json
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backends.docker.engine import STACK_LABEL, WORKLOAD_LABEL, Engine
from operations import container_diagnosis
from operations.doctor.finding import CommandFailed, Finding, Instance
from operations.project import OperationError

STAND_IN = """#!/bin/sh
echo "$*" >> "{folder}/commands"
case "$1 $2" in
    "container inspect") cat "{folder}/containers" ;;
    ps\\ *) echo a; echo b ;;
    logs\\ *) echo "the last line of $4" ;;
    "volume ls") case "$*" in *"label=pti-calendar.data=persistent") echo data ;; *) echo data; echo files ;; esac ;;
    info\\ *) cat "{folder}/time" ;;
    exec\\ *) [ "$3" != fail ] || {{ echo "no such file"; exit 1; }}; echo "done: $*" ;;
    inspect\\ *) echo '[]' ;;
esac
"""


def container(
    workload: str = "redis",
    status: str = "running",
    *,
    health: str = "",
    checks: tuple[str, ...] = (),
    restarts: int = 0,
    policy: str = "unless-stopped",
    **state: Any,
) -> dict[str, Any]:
    """Return a container as `docker inspect` shows it."""
    found: dict[str, Any] = {"Status": status, "ExitCode": 0, "OOMKilled": False, "Error": "", **state}
    if health:
        found["Health"] = {"Status": health, "Log": [{"ExitCode": 1, "Output": one} for one in checks]}
    return {
        "Id": f"id-of-{workload}",
        "Name": f"/pti-{workload}-dev",
        "State": found,
        "RestartCount": restarts,
        "HostConfig": {"RestartPolicy": {"Name": policy}, "Memory": 128 * 2**20},
        "Config": {"Labels": {STACK_LABEL: "dev", WORKLOAD_LABEL: workload}},
        "Mounts": [
            {"Type": "volume", "Name": "files", "Destination": "/etc/files"},
            {"Type": "volume", "Name": "data", "Destination": "/data"},
            {"Type": "tmpfs", "Destination": "/scratch"},
        ],
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the stand-in records its commands and finds its responses."""
    (tmp_path / "docker").write_text(STAND_IN.format(folder=tmp_path))
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


@pytest.fixture
def engine(folder: Path) -> Engine:
    return Engine("unix:///run/docker.sock")


def diagnosis(folder: Path, engine: Engine, *containers: dict[str, Any]) -> list[Finding]:
    """Return the findings about containers."""
    (folder / "containers").write_text(json.dumps(containers))
    return container_diagnosis.findings(engine, "dev", [])


@pytest.mark.parametrize(
    "sound",
    [
        container(),
        container(health="healthy"),
        container(health="healthy", restarts=7),
        container(status="exited", policy="no"),
        container(status="exited", policy="no", ExitCode=137),
        container(status="created"),
    ],
    ids=["without a check", "healthy", "recovered", "finished task", "task of a stopped engine", "copies files"],
)
def test_a_sound_container_is_not_reported(folder: Path, engine: Engine, sound: dict[str, Any]) -> None:
    assert diagnosis(folder, engine, sound) == []


@pytest.mark.parametrize(
    ("broken", "problem", "fix", "output"),
    [
        (
            container(status="restarting", ExitCode=3, restarts=5),
            "keeps crashing (exit code 3, restarted 5 times)",
            "make logs STACK=dev SERVICE=redis",
            "the last line of id-of-redis",
        ),
        (
            container(health="starting", restarts=3),
            "keeps crashing (restarted 3 times)",
            "make logs STACK=dev SERVICE=redis",
            "the last line of id-of-redis",
        ),
        (
            container(status="restarting", OOMKilled=True, ExitCode=137, restarts=2),
            "all of its 128 MiB of memory",
            "memoryMib",
            "the last line of id-of-redis",
        ),
        (
            container(status="exited", ExitCode=137),
            "has been stopped (exit code 137)",
            "make up STACK=dev",
            "the last line of id-of-redis",
        ),
        (
            container(status="exited", ExitCode=128, Error="Bind for 127.0.0.1:6379 failed"),
            "can't be started",
            "make up STACK=dev",
            "Bind for 127.0.0.1:6379 failed",
        ),
        (
            container(status="created", ExitCode=128, Error="Bind for 127.0.0.1:6379 failed"),
            "can't be started",
            "make up STACK=dev",
            "Bind for 127.0.0.1:6379 failed",
        ),
        (container(status="paused", health="healthy"), "is paused", "make up STACK=dev", ""),
        (
            container(health="unhealthy", checks=("first", "last\n")),
            "its health check fails",
            "make logs STACK=dev SERVICE=redis",
            "last",
        ),
        (
            container(status="exited", policy="no", ExitCode=1),
            "The task has failed (exit code 1)",
            "make up STACK=dev",
            "the last line of id-of-redis",
        ),
    ],
)
def test_a_broken_container_is_reported_with_the_cause_and_the_fix(
    folder: Path, engine: Engine, broken: dict[str, Any], problem: str, fix: str, output: str
) -> None:
    (found,) = diagnosis(folder, engine, broken, container("kafka", health="healthy"))
    assert (found.severity, found.subject, found.output) == ("error", "redis", output)
    assert problem in found.problem
    assert fix in found.fix


def test_a_starting_container_is_a_warning(folder: Path, engine: Engine) -> None:
    (found,) = diagnosis(folder, engine, container(health="starting", checks=("recovering: 40 %",)))
    assert (found.severity, found.output) == ("warning", "recovering: 40 %")


def test_a_removed_container_is_reported_by_its_name_in_the_state(folder: Path, engine: Engine) -> None:
    (folder / "containers").write_text(json.dumps([container("redis")]))
    recorded = [
        {"urn": f"urn:x::{name}", "id": f"id-of-{name}", "outputs": {"name": f"pti-{name}-dev"}}
        for name in ("redis", "kafka")
    ]
    (found,) = container_diagnosis.findings(engine, "dev", recorded)
    assert (found.severity, found.subject) == ("error", "kafka")
    assert "'pti-kafka-dev' was removed" in found.problem


def test_commands_run_in_running_containers_that_are_not_tasks(folder: Path, engine: Engine) -> None:
    others = [container("a", "exited"), container("b", policy="no"), container("c", "paused")]
    (folder / "containers").write_text(json.dumps([container("redis"), *others]))
    assert container_diagnosis.instances(engine, "dev") == [
        Instance("redis", "pti-redis-dev", volumes=(("data", "/data"),))
    ]
    executed = container_diagnosis.execute(engine, Instance("redis", "pti-redis-dev"), ["df", "/data"])
    assert executed == "done: exec pti-redis-dev df /data\n"
    with pytest.raises(CommandFailed, match="no such file"):
        container_diagnosis.execute(engine, Instance("redis", "pti-redis-dev"), ["fail"])


@pytest.mark.parametrize("zone", ["Z", "+00:00", "+02:00"])
@pytest.mark.parametrize("fraction", ["", ".123456789"])
def test_the_engines_clock_is_read_in_any_time_zone(
    folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, zone: str, fraction: str
) -> None:
    shown = f"2026-11-29T15:00:00{fraction}{zone}"
    (folder / "time").write_text(f"{shown}\n")
    shown_s = datetime(2026, 11, 29, 13 if zone == "+02:00" else 15, tzinfo=UTC).timestamp()
    monkeypatch.setattr(container_diagnosis, "time", lambda: shown_s - 10)
    offset = container_diagnosis.clock_offset(engine)
    assert offset.seconds == pytest.approx(10.5)
    assert offset.uncertainty_s == pytest.approx(0.5)


def test_a_slow_answer_makes_the_clock_less_certain(
    folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter((time.time(), time.time() + 6))
    monkeypatch.setattr(container_diagnosis, "time", lambda: next(times))
    (folder / "time").write_text("2026-11-29T15:00:00Z\n")
    assert container_diagnosis.clock_offset(engine).uncertainty_s == pytest.approx(3.5, abs=0.1)


def test_an_engine_without_a_clock_is_refused(folder: Path, engine: Engine) -> None:
    (folder / "time").write_text("<no value>\n")
    with pytest.raises(OperationError, match="<no value>"):
        container_diagnosis.clock_offset(engine)


def test_only_a_port_that_a_program_listens_on_is_taken(folder: Path, engine: Engine) -> None:
    with socket.socket() as listening, socket.socket() as closed:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        closed.bind(("127.0.0.1", 0))
        taken, free = listening.getsockname()[1], closed.getsockname()[1]
        closed.close()
        found = container_diagnosis.taken(engine, "dev", [("redis.port", taken), ("kafka.port", free)], "127.0.0.1")
        assert found == [("redis.port", taken)]


def test_the_ports_of_another_machine_are_not_checked(folder: Path) -> None:
    with pytest.raises(OperationError, match=r"another machine .*tcp://10\.0\.0\.1:2375"):
        container_diagnosis.taken(Engine("tcp://10.0.0.1:2375"), "dev", [], "127.0.0.1")

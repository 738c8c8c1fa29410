"""The doctor on a real engine: each test breaks a stack of the stores, and the cause is named first."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from operations import configuration, locks
from operations import stack as pulumi_stack
from operations.doctor import run
from operations.doctor.masking import MASK
from settings.catalog import SERVICES
from settings.stores.redis import RedisSettings
from tests.engine import docker_engine
from tests.engine.docker_engine import STACK_LABEL, WORKLOAD_LABEL, docker
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.waiting import until

Report = Callable[[], dict[str, Any]]
"""Runs the doctor and returns its report, with its exit code under `code`."""


@pytest.fixture
def report(
    stores_stack: PulumiStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Report]:
    """The doctor of the stack, which each test leaves healthy."""
    monkeypatch.setattr(configuration, "ROOT", stores_stack.project)
    monkeypatch.setattr(pulumi_stack, "ROOT", stores_stack.project)
    monkeypatch.setattr(pulumi_stack, "environment", stores_stack._environment)
    monkeypatch.setattr(locks, "STATE", stores_stack.state)

    def diagnose() -> dict[str, Any]:
        code = run.doctor(stores_stack.name, as_json=True)
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        # The machine's own disk may be nearly full.
        found["findings"] = [one for one in found["findings"] if not one["subject"].startswith("disk of")]
        return {"code": code, **found}

    yield diagnose
    until("healthy", lambda: set(docker_engine.workloads(stores_stack.name).values()) == {"healthy"})


def container(stack: PulumiStack, workload: str) -> str:
    return f"pti-{workload}-{stack.name}"


def found(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return severity and subject of each finding."""
    return [(one["severity"], one["subject"]) for one in report["findings"]]


@contextmanager
def extra_container(stack: PulumiStack, workload: str, script: str, *options: str) -> Iterator[str]:
    """Run another container with the stack's label."""
    labels = ("--label", f"{STACK_LABEL}={stack.name}", "--label", f"{WORKLOAD_LABEL}={workload}")
    name = container(stack, workload)
    image = RedisSettings().image
    docker("run", "--detach", "--name", name, *labels, *options, "--entrypoint", "sh", image, "-c", script)
    try:
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


def state_of(name: str) -> dict[str, Any]:
    """Return a container's state and restarts."""
    (shown,) = json.loads(docker("container", "inspect", name))
    return {**shown["State"], "RestartCount": shown["RestartCount"]}


def await_long_restart(name: str) -> None:
    """Wait until the engine waits for 13 s or longer before it restarts a crashing container."""

    def is_waiting() -> bool:
        state = state_of(name)
        return bool(state["RestartCount"] >= 7 and state["Status"] == "restarting")

    until("it keeps crashing", is_waiting)


def test_every_check_of_a_sound_stack_runs_and_finds_nothing(report: Report) -> None:
    shown = report()
    assert shown["findings"] == []
    assert shown["skipped"] == []
    assert len(shown["checked"]) == 3 + len(run.CHECKS_OF_THE_RUNTIME) + len(run.CHECKS_OF_THE_STACK)


def test_databases_without_a_backup_are_named(stores_stack: PulumiStack, report: Report) -> None:
    assert report()["findings"] == []
    stores_stack.configure({"backups": {"enabled": True}})
    try:
        (shown,) = report()["findings"]
    finally:
        stores_stack.configure({"backups": {"enabled": False}})
    assert (shown["severity"], shown["subject"]) == ("warning", "backups")
    assert all(service.database in shown["problem"] for service in SERVICES)


def test_a_stopped_store_is_named_with_the_program_that_took_its_port(
    stores_stack: PulumiStack, report: Report
) -> None:
    port = stores_stack.outputs().redis.port
    docker("stop", "--time", "1", container(stores_stack, "redis"))
    try:
        shown = report()
        assert found(shown) == [("error", "redis")]
        assert "has been stopped" in shown["findings"][0]["problem"]
        with socket.create_server(("127.0.0.1", port)):
            shown = report()
        assert found(shown) == [("error", f"port {port}"), ("error", "redis")]
    finally:
        docker("start", container(stores_stack, "redis"))


def test_a_paused_server_is_reported_once(stores_stack: PulumiStack, report: Report) -> None:
    docker("pause", container(stores_stack, "postgres"))
    try:
        shown = report()
    finally:
        docker("unpause", container(stores_stack, "postgres"))
    assert (shown["code"], found(shown)) == (1, [("error", "postgres")])
    assert "is paused" in shown["findings"][0]["problem"]


def test_a_removed_container_is_named(stores_stack: PulumiStack, report: Report) -> None:
    docker("rm", "--force", container(stores_stack, "redis"))
    try:
        shown = report()
    finally:
        stores_stack.up("--refresh").succeeded()
    assert found(shown) == [("error", "redis")]
    assert "was removed" in shown["findings"][0]["problem"]


@pytest.mark.restarts("a container beside the stack crashes on purpose")
def test_a_crash_loop_is_shown_with_its_log_but_without_the_secret(stores_stack: PulumiStack, report: Report) -> None:
    secret = stores_stack.outputs().credentials.postgres["postgres"]
    script = f"echo 'login of postgres with {secret}'; echo 'no licence found'; exit 3"
    with extra_container(stores_stack, "crasher", script, "--restart", "always") as name:
        await_long_restart(name)
        shown = report()
    (only,) = shown["findings"]
    assert (only["severity"], only["subject"]) == ("error", "crasher")
    assert "keeps crashing" in only["problem"]
    assert f"login of postgres with {MASK}\nno licence found" in only["output"]
    assert secret not in json.dumps(shown)


@pytest.mark.restarts("a container beside the stack uses all of its memory on purpose")
def test_a_container_without_memory_is_named_with_its_limit(stores_stack: PulumiStack, report: Report) -> None:
    limited = ("--restart", "always", "--memory", "16m", "--memory-swap", "16m")
    with extra_container(stores_stack, "eater", "exec tail /dev/zero", *limited) as name:
        await_long_restart(name)
        (only,) = report()["findings"]
    assert (only["severity"], only["subject"]) == ("error", "eater")
    assert "all of its 16 MiB of memory" in only["problem"]


def test_an_unhealthy_container_is_named_with_the_output_of_its_check(
    stores_stack: PulumiStack, report: Report
) -> None:
    check = ("--health-cmd", "echo not today; exit 1", "--health-interval", "1s", "--health-retries", "1")
    with extra_container(stores_stack, "patient", "exec sleep 600", *check) as name:
        until("it is unhealthy", lambda: state_of(name)["Health"]["Status"] == "unhealthy")
        (only,) = report()["findings"]
    assert (only["severity"], only["subject"], only["output"]) == ("error", "patient", "not today")


def test_the_lock_of_a_killed_update_comes_before_a_stopped_store(stores_stack: PulumiStack, report: Report) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    folder = stores_stack.state / ".pulumi" / "locks" / "organization" / "pti-calendar" / stores_stack.name
    folder.mkdir(parents=True, exist_ok=True)
    lock: Path = folder / "0.json"
    lock.write_text(json.dumps({"pid": ended.pid, "hostname": socket.gethostname()}))
    docker("stop", "--time", "1", container(stores_stack, "redis"))
    try:
        assert found(report()) == [("error", "state"), ("error", "redis")]
    finally:
        lock.unlink()
        docker("start", container(stores_stack, "redis"))


def test_an_engine_that_does_not_respond_is_the_only_finding(
    stores_stack: PulumiStack, report: Report, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    docker("stop", "--time", "1", container(stores_stack, "redis"))
    try:
        with monkeypatch.context() as patch:
            patch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
            shown = report()
    finally:
        docker("start", container(stores_stack, "redis"))
    assert (shown["code"], found(shown)) == (1, [("error", "engine or cluster")])
    assert f"{tmp_path}/none.sock" in shown["findings"][0]["problem"]

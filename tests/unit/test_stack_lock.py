"""The lock that a killed update leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from operations import locks, stack
from operations.project import OperationError
from tests.engine.waiting import until


class RespondingRuntime:
    """A runtime that responds and whose workloads are ready."""

    def unreachable_reason(self, stack: str) -> None:
        """Return None: the runtime responds."""

    def location(self, stack: str) -> str:
        """Return where the stack is."""
        return "on the engine of the test"

    def unready_workloads(self, stack: str) -> list[str]:
        """Return an empty list: every workload is ready."""
        return []


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The recorded calls of the `pulumi` command, which isn't run."""
    made: list[list[str]] = []

    def captured(arguments: list[str]) -> subprocess.CompletedProcess[str]:
        made.append(arguments)
        return subprocess.CompletedProcess(arguments, 0, "", "")

    def attached(arguments: list[str], more: Mapping[str, str] | None = None) -> int:
        made.append(arguments)
        return 0

    monkeypatch.setattr(locks, "STATE", tmp_path)
    monkeypatch.setattr(stack, "runtime_of", lambda name: RespondingRuntime())
    monkeypatch.setattr(stack, "recorded_state", lambda name: {})
    monkeypatch.setattr(stack, "_run_captured", captured)
    monkeypatch.setattr(stack, "_run_attached", attached)
    return made


def lock(state: Path, *, pid: int, hostname: str | None = None, name: str = "dev") -> None:
    folder = state / ".pulumi" / "locks" / "organization" / "pti-calendar" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{pid}.json").write_text(json.dumps({"pid": pid, "hostname": hostname or socket.gethostname()}))


def ended_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture
def running_update(tmp_path: Path) -> Iterator[int]:
    """A process named like Pulumi that keeps running."""
    command = tmp_path / "pulumi"
    command.symlink_to(shutil.which("sleep") or "/bin/sleep")
    process = subprocess.Popen([command, "600"])
    yield process.pid
    process.kill()
    process.wait()


def commands(calls: list[list[str]]) -> list[str]:
    return [arguments[0] for arguments in calls]


def test_without_a_lock_nothing_is_removed(calls: list[list[str]]) -> None:
    assert stack.up("dev") == 0
    assert commands(calls) == ["stack", "up"]


def test_the_lock_of_an_ended_process_is_removed_with_its_pending_operations(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = {"urn": "urn:redis", "type": stack.STACK_TYPE}
    state = {"resources": [resource], "pending_operations": [{"type": "creating", "resource": resource}]}
    monkeypatch.setattr(stack, "recorded_state", lambda name: state)
    lock(tmp_path, pid=ended_process())
    assert stack.up("dev") == 0
    assert commands(calls) == ["stack", "cancel", "up", "refresh"]
    assert "--clear-pending-creates" in calls[-1]


def state_of(pid: int) -> str:
    return subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout


def test_the_lock_of_a_zombie_process_is_removed(calls: list[list[str]], tmp_path: Path) -> None:
    zombie = subprocess.Popen(["true"])
    until("it has ended", lambda: state_of(zombie.pid).startswith("Z"), 10)
    lock(tmp_path, pid=zombie.pid)
    stack.up("dev")
    assert "cancel" in commands(calls)
    zombie.wait()


def test_a_lock_whose_pid_is_reused_is_removed(calls: list[list[str]], tmp_path: Path) -> None:
    lock(tmp_path, pid=os.getpid())
    stack.up("dev")
    assert "cancel" in commands(calls)


def test_the_lock_of_a_running_update_stays(calls: list[list[str]], tmp_path: Path, running_update: int) -> None:
    lock(tmp_path, pid=running_update)
    with pytest.raises(OperationError, match=rf"Another update of stack 'dev' is running \(process {running_update}\)"):
        stack.up("dev")
    assert calls == []


@pytest.mark.parametrize(("program", "is_pulumi"), [("/opt/tools/pulumi", True), ("/opt/pulumi/python3", False)])
def test_a_lock_on_macos_stays_if_its_process_runs_pulumi(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, is_pulumi: bool
) -> None:
    """There, as in POSIX, an argument with a header ends with it, and `comm` is the program's path."""
    (tmp_path / "ps").write_text(
        f'#!/bin/sh\ncase "$*" in *=,*) echo ",comm="; echo S+;; *) echo "S+   {program}";; esac\n'
    )
    (tmp_path / "ps").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    lock(tmp_path, pid=1)
    if is_pulumi:
        with pytest.raises(OperationError, match="Another update"):
            stack.up("dev")
    else:
        stack.up("dev")
    assert ("cancel" not in commands(calls)) is is_pulumi


def test_one_running_update_among_stale_locks_keeps_every_lock(
    calls: list[list[str]], tmp_path: Path, running_update: int
) -> None:
    lock(tmp_path, pid=ended_process())
    lock(tmp_path, pid=running_update)
    with pytest.raises(OperationError, match="Another update"):
        stack.up("dev")
    assert calls == []


def test_the_lock_of_another_machine_stays(calls: list[list[str]], tmp_path: Path) -> None:
    lock(tmp_path, pid=ended_process(), hostname="elsewhere")
    stack.up("dev")
    assert "cancel" not in commands(calls)


def test_the_lock_of_another_stack_stays(calls: list[list[str]], tmp_path: Path) -> None:
    lock(tmp_path, pid=ended_process(), name="other")
    stack.up("dev")
    assert "cancel" not in commands(calls)


def test_an_unreadable_lock_file_stays(calls: list[list[str]], tmp_path: Path) -> None:
    lock(tmp_path, pid=1)
    next(tmp_path.rglob("1.json")).write_text("{")
    stack.up("dev")
    assert "cancel" not in commands(calls)

"""How an update waits for a container; tests/engine/test_recovery.py and test_failures.py cover a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pytest
from pulumi.resource_hooks import ResourceHookArgs

from backends import shared_query
from backends.base import DeployOptions
from backends.docker import readiness
from backends.docker.engine import Engine
from backends.docker.readiness import AwaitedContainer, Readiness
from backends.threads import Threads
from recording.recorder import Recording, record
from tests.unit.test_docker_backend import READY, record_deployment, workload
from workloads import LongRunning, Service, StatefulService, WorkloadError


def health(status: str, *outputs: str) -> Mapping[str, Any]:
    """Return a container's state with its recent health checks, newest last."""
    return {"State": {"Health": {"Status": status, "Log": [{"Output": one} for one in outputs]}}}


class ScriptedEngine(Engine):
    """Returns scripted states one after the other, then repeats the last one."""

    states: list[Mapping[str, Any] | None]

    def __init__(self, *states: Mapping[str, Any] | None) -> None:
        super().__init__()
        object.__setattr__(self, "states", [*states])

    def containers(self, stack: str) -> dict[str, dict[str, Any]]:
        """Return the next state."""
        found = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {} if found is None else {"pti-store-dev": dict(found)}

    def last_exit_code(self, name: str) -> str:
        """Return the exit code of the previous run."""
        return "9"

    def last_lines(self, name: str, count: int = 20) -> str:
        """Return the container's last log lines."""
        return "reading the log"


@pytest.fixture
def run_wait(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Wait for a store through the given states; return the messages shown to the user."""

    def wait_messages(*states: Mapping[str, Any] | None, startup_s: int = 60, step_s: float = 0) -> list[str]:
        now = [0.0]
        shown: list[str] = []

        def clock() -> float:
            now[0] += step_s
            return now[0]

        monkeypatch.setattr(readiness, "POLL_S", 0)
        monkeypatch.setattr(shared_query, "PAUSE_FACTOR", 0)
        monkeypatch.setattr("backends.docker.readiness.monotonic", clock)
        monkeypatch.setattr(pulumi.log, "info", shown.append)

        def program() -> None:
            awaiting = Readiness(ScriptedEngine(*states), Threads(), "dev")
            parent = pulumi.ComponentResource("test:index:Parent", "parent")
            awaiting.record(
                AwaitedContainer("store", "pti-store-dev", startup_s), "an id", DeployOptions(parent=parent)
            )

        hook = record(program).hooks["docker-wait-until-ready"]
        assert isinstance(hook, pulumi.ResourceHook)
        answered = hook.callback(ResourceHookArgs("urn", "", "store-ready", "pulumi:index:Stash"))
        assert asyncio.iscoroutine(answered)
        asyncio.run(answered)
        return shown

    return wait_messages


def test_the_wait_ends_when_the_store_is_healthy(run_wait: Callable[..., list[str]]) -> None:
    assert run_wait(health("starting"), health("unhealthy"), health("healthy")) == []


def test_progress_is_shown_once_per_change(run_wait: Callable[..., list[str]]) -> None:
    shown = run_wait(
        health("starting", "recovering: 10 %\n"),
        health("starting", "recovering: 10 %\n", "connection refused\n"),
        health("unhealthy", "recovering: 10 %\n", "no answer\nnot listening yet, recovering: 43 %\n"),
        health("healthy", "recovering: 43 %\n", ""),
    )
    assert shown == ["store: recovering: 10 %", "store: recovering: 43 %"]


def test_the_wait_continues_while_there_is_progress(run_wait: Callable[..., list[str]]) -> None:
    # Together, these reports take longer than the time allowed without progress.
    reports = [health("unhealthy", f"recovering: {percent} %") for percent in range(0, 100, 10)]
    assert len(run_wait(*reports, health("healthy"), startup_s=30, step_s=10)) == len(reports)


def test_without_progress_the_wait_ends_and_the_store_keeps_running(run_wait: Callable[..., list[str]]) -> None:
    with pytest.raises(WorkloadError) as failed:
        run_wait(health("unhealthy", "recovering: 43 %"), startup_s=30, step_s=10)
    assert "pti-store-dev has made no progress for 30 s (recovering: 43 %)" in str(failed.value)
    assert "the next update waits for it again" in str(failed.value)
    assert "reading the log" in str(failed.value)


def test_a_store_that_reports_no_progress_did_not_become_ready(run_wait: Callable[..., list[str]]) -> None:
    with pytest.raises(WorkloadError, match="pti-store-dev did not become ready"):
        run_wait(health("unhealthy", "connection refused"), startup_s=30, step_s=10)


def test_the_wait_ends_if_the_container_is_removed(run_wait: Callable[..., list[str]]) -> None:
    with pytest.raises(WorkloadError, match="there is no container 'pti-store-dev'"):
        run_wait(health("starting"), None)


def crashed_state(restarts: int, *, exited: bool = True) -> Mapping[str, Any]:
    """Return a container that has crashed this many times and, unless it is down, is running again."""
    health = {"Status": "unhealthy"}
    state = {"Health": health, "Running": True, "Restarting": exited, "ExitCode": 78 if exited else 0}
    return {"State": state, "RestartCount": restarts}


def test_the_wait_ends_if_the_container_is_crash_looping(run_wait: Callable[..., list[str]]) -> None:
    states = map(crashed_state, range(10))
    report = r"(?s)pti-store-dev keeps crashing: exit code 78, restarted \d .*reading the log"
    with pytest.raises(WorkloadError, match=report):
        run_wait(*states, startup_s=1000, step_s=2)


def test_a_crash_loop_is_found_even_if_the_container_runs_at_each_poll(
    run_wait: Callable[..., list[str]],
) -> None:
    states = [crashed_state(restarts, exited=False) for restarts in range(20) for _ in range(3)]
    with pytest.raises(WorkloadError, match="pti-store-dev keeps crashing: exit code 9, restarted "):
        run_wait(*states, startup_s=1000, step_s=1)


def test_a_container_in_restart_back_off_counts_as_crashed(run_wait: Callable[..., list[str]]) -> None:
    """The engine waits up to a minute before it restarts a container."""
    with pytest.raises(WorkloadError, match="pti-store-dev keeps crashing: exit code 78, restarted 9 times"):
        run_wait(crashed_state(9), startup_s=1000, step_s=2)


def test_the_wait_ends_if_the_container_is_stopped(run_wait: Callable[..., list[str]]) -> None:
    stopped = {"State": {"Status": "exited", "ExitCode": 143, "Running": False}, "RestartCount": 0}
    with pytest.raises(WorkloadError, match="pti-store-dev has been stopped: exit code 143"):
        run_wait(health("starting"), stopped, startup_s=1000)


def test_a_few_crashes_during_the_start_of_others_are_tolerated(run_wait: Callable[..., list[str]]) -> None:
    states = [
        crashed_state(0),
        crashed_state(1),
        crashed_state(4),
        *[crashed_state(5, exited=False)] * 20,
        health("healthy"),
    ]
    assert run_wait(*states, startup_s=1000, step_s=2) == []


@pytest.mark.parametrize("kind", [StatefulService, Service])
class TestRecords:
    @pytest.fixture
    def recording(self, kind: type[LongRunning]) -> Recording[Any]:
        """Record a workload and its dependents."""
        store = kind(name="store", image="store:1.0", user=1000, memory_mib=64, readiness=READY)
        return record_deployment(store, workload("web", depends_on=("store",)))

    def test_a_new_container_starts_a_new_wait(self, recording: Recording[Any]) -> None:
        record_of_store = recording.get("Stash", "store-ready")
        assert record_of_store.inputs["input"] == {"container": "id-of-pti-store-dev"}
        assert record_of_store.hooks == dict.fromkeys(("before_create", "before_update"), ("docker-wait-until-ready",))

    def test_the_containers_creation_does_not_wait(self, recording: Recording[Any]) -> None:
        """If the creation failed, the next update would replace the container and interrupt the recovery."""
        assert recording.get("Container", "store").inputs["wait"] is False

    def test_dependents_of_the_store_come_after_the_wait(self, recording: Recording[Any]) -> None:
        names = [str(one).rpartition(":")[2] for one in recording.registrations]
        order = ["Container store", "Stash store-ready", "Container web"]
        assert sorted(order, key=names.index) == order

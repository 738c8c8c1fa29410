"""A scheduled task on a real engine: its container, its runs by schedule and on request, and what survives a restart.

`tests/artifacts/test_scheduler.py` covers the scheduler's clock.
"""

from __future__ import annotations

import re
import time

import pytest

from backends.docker.engine import SCHEDULER_PATH, Engine
from operations import containers
from tests.engine import docker_engine
from tests.engine.conftest import MakeStack
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.small_programs import WORKLOADS
from tests.engine.waiting import until

NIGHTLY = "nightly"


@pytest.fixture(scope="module")
def stack(make_shared_stack: MakeStack) -> PulumiStack:
    """The scheduled task, which isn't due."""
    made = make_shared_stack(program=WORKLOADS, configuration={"scenario": "scheduled"})
    made.up().succeeded()
    return made


@pytest.fixture(autouse=True)
def _default_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stacks of these programs have no settings, and use the default engine."""
    monkeypatch.setattr(containers, "_engine", lambda _: Engine())


def test_an_update_starts_no_run_and_an_unchanged_stack_stays_unchanged(
    stack: PulumiStack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.preview("--expect-no-changes").succeeded()
    assert docker_engine.workloads(stack.name) == {NIGHTLY: "healthy"}
    assert containers.unready_workloads(stack.name) == []
    containers.show_status(stack.name)
    assert f"{NIGHTLY}         0 3 29 2 *      no run yet" in capsys.readouterr().out


def test_a_requested_run_streams_its_output_and_returns_its_exit_code(
    stack: PulumiStack, capfd: pytest.CaptureFixture[str]
) -> None:
    before = len(runs(stack))
    assert containers.run_task(stack.name, NIGHTLY) == 0
    assert "working\n" in capfd.readouterr().out
    assert containers.run_task(stack.name, NIGHTLY, ["sh", "-c", "exit 9"]) == 9
    assert len(runs(stack)) == before + 1
    assert "exit status 9" in last_result(stack)
    assert "exit status 9" in docker("logs", container(stack))


def test_a_request_during_a_run_is_refused(stack: PulumiStack, capfd: pytest.CaptureFixture[str]) -> None:
    begin_long_run(stack)
    try:
        assert containers.run_task(stack.name, NIGHTLY) == 1
        assert "is in progress" in capfd.readouterr().err
    finally:
        docker("exec", container(stack), "sh", SCHEDULER_PATH, "cancel")
    until("the run has ended", lambda: "stopped on request" in last_result(stack))


def test_stopping_the_container_ends_a_run_within_the_grace_period(stack: PulumiStack) -> None:
    begin_long_run(stack)
    began = time.monotonic()
    docker("stop", container(stack))
    took_s = time.monotonic() - began
    docker("start", container(stack))
    until("healthy", lambda: docker_engine.workloads(stack.name) == {NIGHTLY: "healthy"})
    assert took_s < 10
    assert "stopped on request" in last_result(stack)


@pytest.mark.restarts("the scheduler is killed")
def test_a_run_whose_scheduler_is_killed_ends_and_is_reported(stack: PulumiStack) -> None:
    begin_long_run(stack)
    docker("exec", container(stack), "sh", "-c", "kill -9 $(cat /var/tmp/schedule/scheduler)")
    until("it is reported", lambda: "was interrupted" in docker("logs", container(stack)))
    until("healthy", lambda: docker_engine.workloads(stack.name) == {NIGHTLY: "healthy"})
    assert "was interrupted" in last_result(stack)
    assert containers.run_task(stack.name, NIGHTLY) == 0


def test_the_data_and_the_last_result_outlive_the_stack(stack: PulumiStack) -> None:
    assert containers.run_task(stack.name, NIGHTLY) == 0
    before, result = runs(stack), last_result(stack)
    stack.destroy().succeeded()
    assert len(docker_engine.persistent_volumes(stack.name)) == 2
    stack.up().succeeded()
    assert (runs(stack), last_result(stack)) == (before, result)


def test_a_task_runs_when_it_is_due(stack: PulumiStack) -> None:
    before = len(runs(stack))
    stack.configure({"schedule": "* * * * *"})
    stack.up().succeeded()
    run = r"\nschedule: run of \S+:00Z begins at .*\nworking\nschedule: run of \S+:00Z succeeded"
    until("it has run", lambda: re.search(run, new_log(stack)))
    assert len(runs(stack)) > before


def container(stack: PulumiStack) -> str:
    return f"pti-{NIGHTLY}-{stack.name}"


def new_log(stack: PulumiStack) -> str:
    """Return the log since the schedule's change."""
    return docker("logs", container(stack)).partition("waiting for '* * * * *' in UTC")[2]


def runs(stack: PulumiStack) -> list[str]:
    """Return the lines that the runs have written into the task's volume."""
    return docker("exec", container(stack), "sh", "-c", "cat /data/runs 2>/dev/null || true").split()


def last_result(stack: PulumiStack) -> str:
    return docker("exec", container(stack), "sh", SCHEDULER_PATH, "status")


def begin_long_run(stack: PulumiStack) -> None:
    docker("exec", "--detach", container(stack), "sh", SCHEDULER_PATH, "run", "sleep", "600")
    until("a run is in progress", lambda: "is in progress" in last_result(stack))

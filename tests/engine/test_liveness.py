"""A service that hangs is restarted; one that is only unready or still recovers its data isn't."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine import docker_engine
from tests.engine.conftest import MakeStack
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.small_programs import WORKLOADS
from tests.engine.waiting import until
from tests.failures import FailureRecord

STATE = "/run/patient"
FAILURES = "/dev/shm/liveness-failures"  # noqa: S108 - in the container


@pytest.fixture(scope="module")
def stack(make_shared_stack: MakeStack) -> PulumiStack:
    """The running service `patient`. Tests leave it ready."""
    made = make_shared_stack(program=WORKLOADS, configuration={"scenario": "patient"})
    made.up().succeeded()
    return made


def test_a_service_that_is_not_ready_is_unhealthy_and_keeps_running(stack: PulumiStack) -> None:
    before = _patient(stack)

    _inside(stack, "touch", f"{STATE}/not-ready")
    # By then, the liveness probe has run more often than its failure threshold.
    until("unhealthy", lambda: _health(stack) == "unhealthy")
    _inside(stack, "rm", f"{STATE}/not-ready")
    until("healthy again", lambda: _health(stack) == "healthy")

    assert _patient(stack)["State"]["StartedAt"] == before["State"]["StartedAt"]


def test_a_temporary_failure_restarts_nothing(stack: PulumiStack) -> None:
    before = _patient(stack)

    _inside(stack, "touch", f"{STATE}/not-alive")
    until("a failure is counted", lambda: _failures(stack) > 0)
    _inside(stack, "rm", f"{STATE}/not-alive")
    until("it has disappeared", lambda: _failures(stack) == 0)

    assert _patient(stack)["State"]["StartedAt"] == before["State"]["StartedAt"]


@pytest.mark.restarts("the liveness probe fails")
def test_a_hung_service_is_restarted_and_its_log_reports_that(
    stack: PulumiStack, failure_record: FailureRecord
) -> None:
    failure_record.begin("A service hangs", on="Docker", effect="it is killed and restarted, which its log reports")
    before = _patient(stack)

    failure_record.mark_failure()
    _inside(stack, "touch", f"{STATE}/not-alive")
    until("the container has restarted", lambda: _patient(stack)["RestartCount"] > before["RestartCount"])
    until("healthy", lambda: _health(stack) == "healthy")
    failure_record.mark_recovery()
    failure_record.set_lost("nothing: the container keeps nothing")

    after = _patient(stack)
    assert after["Id"] == before["Id"]
    assert after["RestartCount"] == before["RestartCount"] + 1
    assert _failures(stack) == 0
    assert "not alive at 6 checks in a row: killed for a restart" in docker("logs", after["Id"])


@pytest.mark.restarts("the liveness probe fails")
def test_liveness_failures_do_not_interrupt_a_recovery(make_stack: MakeStack) -> None:
    stack = make_stack(program=WORKLOADS, configuration={"scenario": "recovering"})
    stack.up().succeeded()

    # After the recovery, two consecutive failures kill the process.
    until("six checks have run", lambda: len(_inside(stack, "cat", f"{STATE}/checks").splitlines()) >= 6)
    assert _patient(stack)["RestartCount"] == 0

    _inside(stack, "touch", f"{STATE}/recovered")
    until("it is alive", lambda: _inside(stack, "sh", "-c", f"cat {FAILURES} || true").strip() == "0")
    _inside(stack, "rm", f"{STATE}/recovered")
    until("the container has restarted", lambda: _patient(stack)["RestartCount"] == 1)


@pytest.mark.restarts("the liveness probe fails")
def test_a_service_that_exceeds_its_startup_time_is_restarted(make_stack: MakeStack) -> None:
    stack = make_stack(program=WORKLOADS, configuration={"scenario": "hung"})
    stack.up().succeeded()

    until("the container has restarted", lambda: _patient(stack)["RestartCount"] > 0)
    assert "not alive 4 s after its start: killed for a restart" in docker("logs", _patient(stack)["Id"])


def test_a_check_that_the_image_can_not_execute_restarts_nothing(make_stack: MakeStack) -> None:
    stack = make_stack(program=WORKLOADS, configuration={"scenario": "unchecked"}, unexecuted="patient")
    stack.up().succeeded()

    # A check that fails twice in a row, or two seconds after the start, kills the process.
    until("six checks have run", lambda: len(_inside(stack, "cat", f"{STATE}/checks").splitlines()) >= 6)

    assert _patient(stack)["RestartCount"] == 0
    assert _health(stack) == "healthy"
    assert docker("logs", _patient(stack)["Id"]).count("the liveness check can't be executed (exit code 127)") == 1


def test_a_preview_expects_no_changes(stack: PulumiStack) -> None:
    stack.preview("--expect-no-changes").succeeded()


def test_a_container_has_an_entry_for_the_host(stack: PulumiStack) -> None:
    assert "host.docker.internal" in _inside(stack, "cat", "/etc/hosts")


def _patient(stack: PulumiStack) -> dict[str, Any]:
    (found,) = docker_engine.containers(stack.name)
    return found


def _health(stack: PulumiStack) -> str:
    return docker_engine.workloads(stack.name)["patient"]


def _failures(stack: PulumiStack) -> int:
    return int(_inside(stack, "cat", FAILURES))


def _inside(stack: PulumiStack, *command: str) -> str:
    return docker("exec", f"pti-patient-{stack.name}", *command)

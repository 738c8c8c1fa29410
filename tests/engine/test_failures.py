"""A workload that fails: the update fails, reports the reason, and starts none of its dependents."""

from __future__ import annotations

import time

import pytest

from tests.engine import docker_engine
from tests.engine.conftest import STORES, MakeStack
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.small_programs import WORKLOADS
from tests.engine.stores import Stores
from tests.failures import FailureRecord

TASK_TIMEOUT_S = 600
LAST_LINES = "reading the old tables\n    the old tables are locked"


def test_a_failed_task_fails_the_update_and_the_next_runs_it_again(make_stack: MakeStack) -> None:
    stack = make_stack(program=WORKLOADS, configuration={"scenario": "migration"})
    task = f"pti-migration-{stack.name}"

    def store(*words: str) -> str:
        return docker("exec", f"pti-store-{stack.name}", "redis-cli", *words).strip()

    started = time.monotonic()
    first = stack.up().failed()
    assert time.monotonic() - started < TASK_TIMEOUT_S / 5, "it waited for the task's time to be up"
    assert f"{task} exited with code 3. Its last lines:\n    attempt 1\n    {LAST_LINES}" in first.output
    assert "Traceback" not in first.output
    assert docker_engine.workloads(stack.name) == {"store": "healthy"}, "a failed task lingers, or web has started"

    second = stack.up().failed()
    assert f"attempt 2\n    {LAST_LINES}" in second.output

    store("SET", "migration", "allowed")
    third = stack.up().succeeded()
    assert docker_engine.workloads(stack.name) == {"store": "healthy", "migration": "healthy", "web": "healthy"}
    assert "create Container web" in third.changes

    stack.preview("--expect-no-changes").succeeded()
    assert stack.up().succeeded().changes == []
    assert store("GET", "attempts") == "3"


def test_a_service_that_never_becomes_ready_fails_the_update_with_its_last_log_lines(make_stack: MakeStack) -> None:
    stack = make_stack(program=WORKLOADS, configuration={"scenario": "never-ready"})

    failed = stack.up().failed()

    reason = f"pti-web-{stack.name} did not become ready. It keeps running; the next update waits for it again."
    assert f"{reason} Its last lines:\n    reading the configuration\n    no licence found" in failed.output
    assert "Traceback" not in failed.output

    # This changes only the service's health check.
    stack.configure({"scenario": "ready"})
    stack.up().succeeded()
    assert docker_engine.workloads(stack.name) == {"web": "healthy"}
    stack.preview("--expect-no-changes").succeeded()


@pytest.mark.parametrize("kind", ["store", "service"])
def test_a_crash_loop_fails_the_update_before_its_timeout(
    make_stack: MakeStack, failure_record: FailureRecord, kind: str
) -> None:
    failure_record.begin(
        f"A {kind} exits at start", on="Docker", effect="the update fails and shows its last log lines"
    )
    stack = make_stack(program=WORKLOADS, configuration={"scenario": f"crashing-{kind}"})
    reason = f"pti-crasher-{stack.name} keeps crashing: exit code 78, restarted"

    with failure_record.measure_recovery():
        failed = stack.up().failed()
        assert reason in failed.output
        assert "reading the configuration\n    no licence found" in failed.output
        assert "Traceback" not in failed.output
        # The dependents of a failed workload aren't started.
        assert docker_engine.workloads(stack.name).keys() == {"crasher"}

        # The cause isn't fixed yet.
        assert reason in stack.up().failed().output
        stack.configure({"scenario": f"mended-{kind}"})
        stack.up().succeeded()
        assert set(docker_engine.workloads(stack.name).values()) == {"healthy"}
        stack.preview("--expect-no-changes").succeeded()
    failure_record.set_lost("nothing")


def test_an_image_that_cannot_be_pulled_keeps_the_old_container(
    make_stack: MakeStack, failure_record: FailureRecord
) -> None:
    effect = "the update fails and names the image; the old container keeps serving"
    failure_record.begin("An image can't be pulled", on="Docker", effect=effect)
    stack = make_stack(program=WORKLOADS, configuration={"scenario": "ready"})
    stack.up().succeeded()
    (before,) = docker_engine.containers(stack.name)

    stack.configure({"scenario": "missing-image"})
    with failure_record.measure_recovery():
        for _ in range(2):
            failed = stack.up().failed()
            assert "redis:99.9.9" in failed.output
            assert "pull" in failed.output
            assert "Traceback" not in failed.output
            (serving,) = docker_engine.containers(stack.name)
            assert (serving["Id"], serving["State"]["Running"]) == (before["Id"], True)
        stack.configure({"scenario": "ready"})
        stack.up().succeeded()
    (after,) = docker_engine.containers(stack.name)
    assert after["Id"] == before["Id"]
    failure_record.set_lost("nothing")
    stack.preview("--expect-no-changes").succeeded()


def test_a_failed_database_provisioning_reports_the_cause(stores_stack: PulumiStack) -> None:
    stores = Stores(stores_stack.outputs())
    with stores.connect() as session:
        session.execute("ALTER DATABASE pti_rdv ALLOW_CONNECTIONS false")
    stores_stack.set_secrets({"rdvAppPassword": "another one"})  # This change makes the task run again.

    failed = stores_stack.up().failed()

    assert f"pti-databases-{stores_stack.name} exited with code 1. Its last lines:" in failed.output
    assert 'database "pti_rdv" is not currently accepting connections' in failed.output
    assert "Traceback" not in failed.output

    with stores.connect() as session:
        session.execute("ALTER DATABASE pti_rdv ALLOW_CONNECTIONS true")
    stores_stack.unset_secret("rdvAppPassword")
    stores_stack.up().succeeded()
    assert docker_engine.workloads(stores_stack.name) == STORES

"""A workload that fails: the update fails with it, says why, and starts nothing that needs it."""

from __future__ import annotations

import time

from tests.engine import docker_engine
from tests.engine.conftest import STORES, MakeStack
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.small_programs import WORKLOADS
from tests.engine.stores import Stores
from tests.failures import Tried

TASK_TIMEOUT_S = 600
LAST_LINES = "reading the old tables\n    the old tables are locked"


def test_a_failed_task_fails_the_update_and_is_run_again_by_the_next(make_stack: MakeStack) -> None:
    stack = make_stack(program=WORKLOADS, configuration={"scenario": "migration"})
    task = f"pti-migration-{stack.name}"

    def store(*words: str) -> str:
        return docker("exec", f"pti-store-{stack.name}", "redis-cli", *words).strip()

    begun = time.monotonic()
    first = stack.up().failed()
    assert time.monotonic() - begun < TASK_TIMEOUT_S / 5, "it waited for the task's time to be up"
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


def test_a_service_that_never_gets_ready_fails_the_update_with_its_last_lines(make_stack: MakeStack) -> None:
    stack = make_stack(program=WORKLOADS, configuration={"scenario": "never-ready"})

    failed = stack.up().failed()

    reason = f"pti-web-{stack.name} did not become ready. Its last lines:"
    assert f"{reason}\n    reading the configuration\n    no licence found" in failed.output
    assert "Traceback" not in failed.output

    stack.configure({"scenario": "ready"})
    stack.up().succeeded()
    assert docker_engine.workloads(stack.name) == {"web": "healthy"}
    stack.preview("--expect-no-changes").succeeded()


def test_a_store_that_keeps_ending_is_not_waited_for_until_its_time_is_up(make_stack: MakeStack, tried: Tried) -> None:
    tried.failure("A store ends at its start", on="Docker", notice="the update fails with its last lines")
    stack = make_stack(program=WORKLOADS, configuration={"scenario": "crashing-store"})

    with tried.until_well():
        failed = stack.up().failed()
        assert "crasher keeps ending: exit code 78, restarted" in failed.output
        assert "reading the configuration\n    no licence found" in failed.output
        assert "Traceback" not in failed.output

        # Nothing has changed, and nothing is well.
        assert "crasher keeps ending" in stack.up().failed().output
        stack.configure({"scenario": "mended"})
        stack.up().succeeded()
        assert docker_engine.workloads(stack.name) == {"crasher": "healthy"}
        stack.preview("--expect-no-changes").succeeded()
    tried.lost("nothing")


def test_a_failed_provisioning_of_the_databases_says_what_is_wrong(stores_stack: PulumiStack) -> None:
    stores = Stores(stores_stack.outputs())
    with stores.connect() as session:
        session.execute("ALTER DATABASE pti_rdv ALLOW_CONNECTIONS false")
    stores_stack.set_secrets({"rdvAppPassword": "another one"})  # which makes the task run

    failed = stores_stack.up().failed()

    assert f"pti-databases-{stores_stack.name} exited with code 1. Its last lines:" in failed.output
    assert 'database "pti_rdv" is not currently accepting connections' in failed.output
    assert "Traceback" not in failed.output

    with stores.connect() as session:
        session.execute("ALTER DATABASE pti_rdv ALLOW_CONNECTIONS true")
    stores_stack.unset_secret("rdvAppPassword")
    stores_stack.up().succeeded()
    assert docker_engine.workloads(stores_stack.name) == STORES

"""An update waits for a store that recovers its data, shows its progress, and never kills it."""

from __future__ import annotations

from typing import Any

from tests.engine import docker_engine
from tests.engine.conftest import MakeStack
from tests.engine.docker_engine import docker
from tests.engine.small_programs import WORKLOADS
from tests.failures import FailureRecord

STATE = "/run/patient"


def test_a_recovery_outlives_the_updates_that_wait_for_it(make_stack: MakeStack, failure_record: FailureRecord) -> None:
    effect = "the update fails and shows the store's progress; the next one continues to wait"
    failure_record.begin("A store recovers for longer than an update waits", on="Docker", effect=effect)
    stack = make_stack(program=WORKLOADS, configuration={"scenario": "recoverer"})

    first = stack.up().failed()
    assert "recoverer: recovering: 0 %" in first.output
    assert f"pti-recoverer-{stack.name} has made no progress for 5 s (recovering: 0 %)" in first.output
    assert "the next update waits for it again" in first.output
    assert "Traceback" not in first.output
    before = _store(stack.name)
    assert before["State"]["Running"]

    docker("exec", before["Id"], "sh", "-c", f"echo 43 > {STATE}/progress")
    second = stack.up().failed()
    assert "recoverer: recovering: 43 %" in second.output
    # The dependents of a recovering workload aren't started.
    assert docker_engine.workloads(stack.name).keys() == {"recoverer"}

    docker("exec", before["Id"], "touch", f"{STATE}/recovered")
    stack.up().succeeded()
    after = _store(stack.name)
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    assert docker_engine.workloads(stack.name) == {"recoverer": "healthy", "web": "healthy"}
    failure_record.set_lost("nothing: the recovery is never interrupted")
    stack.preview("--expect-no-changes").succeeded()


def _store(stack: str) -> dict[str, Any]:
    (found,) = (one for one in docker_engine.containers(stack) if one["Name"] == f"/pti-recoverer-{stack}")
    return found

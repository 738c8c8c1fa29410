"""The engine's machine restarts: no manual action is necessary, and an interrupted update is continued."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from settings.stores.redis import RedisSettings
from tests.engine import docker_engine
from tests.engine.docker_engine import docker
from tests.engine.own_engine import OwnEngine, own_engine, why_unavailable
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.small_programs import WORKLOADS
from tests.engine.waiting import until
from tests.failures import FailureRecord

SERVICES = dict.fromkeys(("store", "keeper", "reader"), "healthy")
DATA_FILE = "/data/kept"


@pytest.fixture(scope="module")
def engine() -> Iterator[OwnEngine]:
    """A separate engine, which tests may stop; `DOCKER_HOST` points to it."""
    if reason := why_unavailable():
        pytest.skip(reason)
    with own_engine() as made, pytest.MonkeyPatch.context() as patch:
        made.load(RedisSettings().image)
        patch.setenv("DOCKER_HOST", made.address)
        yield made


@pytest.fixture
def stack(engine: OwnEngine, tmp_path: Path) -> Iterator[PulumiStack]:
    """A store, a workload with data, a task and a service, running on that engine."""
    made = PulumiStack(tmp_path, program=WORKLOADS, configuration={"scenario": "of each kind"})
    made.up().succeeded()
    docker("exec", f"pti-keeper-{made.name}", "sh", "-c", f"echo before > {DATA_FILE}")
    yield made
    made.remove()


def test_after_a_restart_of_the_engine_a_preview_finds_no_change(
    engine: OwnEngine, stack: PulumiStack, failure_record: FailureRecord
) -> None:
    failure_record.begin("The engine's machine restarts", on="Docker", effect="nothing responds meanwhile")
    with failure_record.measure_recovery():
        engine.stop()
        engine.start()
        until("every service is healthy", lambda: _services(stack) == SERVICES)

    stack.preview("--refresh", "--expect-no-changes").succeeded()
    stack.preview("--expect-no-changes").succeeded()
    assert docker("inspect", "--format", "{{.State.Running}}", f"pti-preparation-{stack.name}") == "false\n"
    assert _kept(stack) == "before\n"
    failure_record.set_lost("nothing")


def test_the_next_update_completes_one_interrupted_by_an_engine_stop(
    engine: OwnEngine, stack: PulumiStack, failure_record: FailureRecord
) -> None:
    before = _keeper(stack)
    stack.configure({"release": "2"})
    failure_record.begin("The engine is stopped during an update", on="Docker", effect="the update fails")
    with ThreadPoolExecutor(1) as executor, failure_record.measure_recovery():
        update = executor.submit(stack.up)
        until("the update replaces a container", lambda: _keeper(stack) != before)
        engine.stop()
        update.result().failed()
        engine.start()
        stack.up("--refresh").succeeded()

    assert _services(stack) == SERVICES
    assert _kept(stack) == "before\n"
    failure_record.set_lost("nothing")
    stack.preview("--refresh", "--expect-no-changes").succeeded()


def _services(stack: PulumiStack) -> dict[str, str]:
    running = {name: health for name, health in docker_engine.workloads(stack.name).items() if name in SERVICES}
    states = docker("ps", "--format", "{{.Names}}", "--filter", f"label={docker_engine.STACK_LABEL}={stack.name}")
    return {name: health for name, health in running.items() if f"pti-{name}-{stack.name}" in states.split()}


def _keeper(stack: PulumiStack) -> str:
    return docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"name=^pti-keeper-{stack.name}$")


def _kept(stack: PulumiStack) -> str:
    return docker("exec", f"pti-keeper-{stack.name}", "cat", DATA_FILE)

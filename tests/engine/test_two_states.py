"""Two states with stacks of the same name on one engine, and one state with two engines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine import docker_engine
from tests.engine.conftest import MakeStack
from tests.engine.own_engine import OwnEngine, own_engine, why_unavailable
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.small_programs import WORKLOADS

OTHER_ENGINE_MESSAGE = "is on another Docker engine"


@pytest.fixture
def stack(make_stack: MakeStack) -> PulumiStack:
    """A running stack of a store, a task and a service."""
    made: PulumiStack = make_stack(program=WORKLOADS, configuration={"scenario": "of each kind"})
    made.up().succeeded()
    return made


@pytest.fixture
def other_engine() -> Iterator[OwnEngine]:
    """An engine without any container."""
    if reason := why_unavailable():
        pytest.skip(reason)
    with own_engine() as made:
        yield made


def ids(stack: PulumiStack) -> set[str]:
    return {one["Id"] for one in docker_engine.containers(stack.name)}


def test_a_running_stack_of_another_state_is_refused(stack: PulumiStack, make_stack: MakeStack) -> None:
    running = ids(stack)
    other: PulumiStack = make_stack(program=WORKLOADS, configuration={"scenario": "of each kind"}, name=stack.name)

    for refused in (other.preview().failed(), other.up().failed()):
        assert f"The containers of stack '{stack.name}' on this engine belong to another Pulumi state" in refused.output
        assert f"make take-over STACK={stack.name}" in refused.output
        assert "Traceback" not in refused.output
    assert ids(stack) == running
    stack.preview("--expect-no-changes").succeeded()


def test_a_state_that_is_used_with_another_engine_is_refused(
    stack: PulumiStack, other_engine: OwnEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", other_engine.address)
        for refused in (stack.preview().failed(), stack.up().failed()):
            assert f"Stack '{stack.name}' {OTHER_ENGINE_MESSAGE}" in refused.output
            assert "Traceback" not in refused.output
            record = refused.record()
    stack.preview("--expect-no-changes").succeeded()
    assert record.endswith("::stack-identity")

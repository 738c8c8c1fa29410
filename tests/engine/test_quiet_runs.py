"""A second run changes nothing."""

from __future__ import annotations

import pytest

from tests.engine import docker_engine
from tests.engine.pulumi_stack import PulumiStack


@pytest.fixture(params=["dev_like_stack", "stores_stack"])
def stack(request: pytest.FixtureRequest) -> PulumiStack:
    """A running stack of each Kafka mode."""
    found: PulumiStack = request.getfixturevalue(request.param)
    return found


def test_a_preview_after_up_expects_no_changes(stack: PulumiStack) -> None:
    stack.preview("--expect-no-changes").succeeded()


def test_another_up_changes_nothing(stack: PulumiStack) -> None:
    before = _containers(stack)

    again = stack.up("--refresh").succeeded()

    assert again.changes == []
    assert _containers(stack) == before


def _containers(stack: PulumiStack) -> set[tuple[str, str]]:
    """Map each container to its start time."""
    found = {(one["Id"], one["State"]["StartedAt"]) for one in docker_engine.containers(stack.name)}
    assert found
    return found

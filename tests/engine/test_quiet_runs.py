"""A second run changes nothing. `tests/e2e/test_dev_stack.py` checks the same for the dev stack."""

from __future__ import annotations

from tests.engine import docker_engine
from tests.engine.pulumi_stack import PulumiStack


def test_a_preview_after_up_expects_no_changes(stores_stack: PulumiStack) -> None:
    stores_stack.preview("--expect-no-changes").succeeded()


def test_another_up_changes_nothing(stores_stack: PulumiStack) -> None:
    before = _containers(stores_stack)

    again = stores_stack.up("--refresh").succeeded()

    assert again.changes == []
    assert _containers(stores_stack) == before


def _containers(stack: PulumiStack) -> set[tuple[str, str]]:
    """Map each container to its start time."""
    found = {(one["Id"], one["State"]["StartedAt"]) for one in docker_engine.containers(stack.name)}
    assert found
    return found

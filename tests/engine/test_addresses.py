"""A program that moves its resources keeps its running containers, or changes nothing."""

from __future__ import annotations

import re

from tests.engine import docker_engine
from tests.engine.conftest import MakeStack
from tests.engine.small_programs import MOVED


def test_a_move_is_refused_until_the_program_names_the_former_address(make_stack: MakeStack) -> None:
    stack = make_stack(program=MOVED)
    stack.up().succeeded()
    before = _on_the_engine(stack.name)

    stack.configure({"deeper": True})
    previewed, refused = stack.preview().failed(), stack.up().failed()
    for outcome in (previewed, refused):
        assert "store" in outcome.output
        assert "MOVED in backends/addresses.py" in outcome.output
        assert "Traceback" not in outcome.output
    assert refused.changes == []
    assert _on_the_engine(stack.name) == before

    entries = dict(re.findall(r'"(\S+)": "(\S+)",', refused.output))
    assert entries == {"pti-calendar:tests:Group::group": "pti-calendar:tests:Outer$pti-calendar:tests:Group::group"}
    stack.configure({"moved": entries})
    assert stack.up().succeeded().changes == ["update Stash addresses"]
    assert _on_the_engine(stack.name) == before

    # Once the stack has been updated with the alias, the alias can be removed.
    stack.configure({"moved": {}})
    stack.preview("--expect-no-changes").succeeded()


def test_a_workload_that_names_its_former_parent_moves_without_a_change(make_stack: MakeStack) -> None:
    stack = make_stack(program=MOVED)
    stack.up().succeeded()
    before = _on_the_engine(stack.name)
    stack.configure({"elsewhere": True})
    assert stack.up().succeeded().changes == ["update Stash addresses"]
    assert _on_the_engine(stack.name) == before
    stack.preview("--expect-no-changes").succeeded()


def _on_the_engine(stack: str) -> set[str]:
    """Return the containers' IDs and start times, and the names of the volumes."""
    containers = {f"{one['Id']} since {one['State']['StartedAt']}" for one in docker_engine.containers(stack)}
    return containers | {one["Name"] for one in docker_engine.volumes(stack)}

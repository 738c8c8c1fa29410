"""Fails a test during which the engine has restarted a container of a stack, unless the test has the marker `restarts`.

A `conftest.py` imports the hook for the tests of its folder.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

import pytest

from tests.engine.docker_engine import STACK_LABEL, docker
from tests.restarts import restarted_since

_stacks: set[str] = set()
_counted: Mapping[str, int] = {}


def watch(stack: str) -> None:
    """Count the restarts of this stack's containers from now on."""
    _stacks.add(stack)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Count before the test's fixtures remove their stacks.

    A restart of a container that was removed earlier isn't seen.
    """
    global _counted
    before, _counted = _counted, _restarts()
    yield
    restarted = restarted_since(before, _counted)
    assert restarted == {} or item.get_closest_marker("restarts"), f"restarted: {restarted}"


def _restarts() -> dict[str, int]:
    """Map each container of the stacks to its number of restarts; none if the engine doesn't respond."""
    if not _stacks:
        return {}
    columns = f'{{{{.ID}}}} {{{{.Label "{STACK_LABEL}"}}}}'
    listed = docker("ps", "--all", "--no-trunc", "--filter", f"label={STACK_LABEL}", "--format", columns, check=False)
    own = [line.split()[0] for line in listed.splitlines() if line.partition(" ")[2] in _stacks]
    if not own:
        return {}
    columns = "{{.Id}} {{.Name}} {{.RestartCount}}"
    rows = [line.split() for line in docker("inspect", "--format", columns, *own, check=False).splitlines()]
    # For a container that is removed in between, the command prints an error message.
    return {f"{row[1]} ({row[0][:12]})": int(row[2]) for row in rows if row[:1] and row[0] in own}

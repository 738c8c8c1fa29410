"""The check that no test restarts containers unnoticed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from tests.engine import restarts
from tests.restarts import restarted_since

CONTAINER = "c" * 64


class Item:
    """A test, with the marker or without it."""

    def __init__(self, *, is_marked: bool) -> None:
        self._is_marked = is_marked

    def get_closest_marker(self, name: str) -> object:
        return name if self._is_marked else None


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The engine's count of a watched container's restarts after each test in turn, beside a stack of others."""
    found = [0]

    def docker(command: str, *arguments: str, check: bool) -> str:
        if command == "ps":
            return f"{CONTAINER} mine\n{'d' * 64} theirs\n"
        assert arguments[-1] == CONTAINER
        return f"{CONTAINER} /pti-store-mine {found.pop(0)}\nError: No such object: another\n"

    monkeypatch.setattr(restarts, "docker", docker)
    monkeypatch.setattr(restarts, "_stacks", {"mine"})
    monkeypatch.setattr(restarts, "_counted", {})
    return found


def end(*, is_marked: bool = False) -> None:
    """Run the hook around the teardown of a test."""
    hook = cast(Iterator[Any], restarts.pytest_runtest_teardown(cast(pytest.Item, Item(is_marked=is_marked))))
    next(hook)
    next(hook, None)


def test_a_test_fails_once_if_a_container_of_its_stack_was_restarted(counts: list[int]) -> None:
    counts[:] = [0, 1, 1, 3]
    end()
    with pytest.raises(AssertionError, match=r"/pti-store-mine.*: 1"):
        end()
    end()
    end(is_marked=True)


def test_without_a_stack_the_engine_is_not_queried(counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "_stacks", set())
    counts.clear()
    end()


@pytest.mark.parametrize(
    ("before", "after", "restarted"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 3}, {"a": 2}),
        ({}, {"a": 1, "b": 0}, {"a": 1}),
        ({"a": 1}, {}, {}),
        # `docker start` and `docker restart` set the engine's count to zero.
        ({"a": 2}, {"a": 0}, {}),
        ({"a": 2}, {"a": 1}, {"a": 1}),
    ],
)
def test_only_new_restarts_count(before: Mapping[str, int], after: Mapping[str, int], restarted: object) -> None:
    assert restarted_since(before, after) == restarted

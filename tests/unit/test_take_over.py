"""`make take-over` removes what it has listed, even after a killed run and alongside a concurrent one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from operations import containers, take_over
from operations.project import OperationError

LISTED = ["c1", "c2"]


class StackOnEngine:
    """The containers and networks of one stack, and the engine's answers to removals.

    Args:
        removed_by_another: called before each removal with the command; another process removes something.
    """

    def __init__(self, removed_by_another: Callable[[StackOnEngine, str], None] = lambda stack, kind: None) -> None:
        self.containers = list(LISTED)
        self.networks = ["n1"]
        self.busy: set[str] = set()
        self._removed_by_another = removed_by_another

    def docker(self, stack: str, *arguments: str) -> str:
        """Answer like the docker command."""
        match arguments:
            case ("ps", "--all", *_, "--format", _):
                return "".join(f"{one} ben@laptop:/work\n" for one in self.containers)
            case ("ps", *_):
                return "\n".join(self.containers)
            case ("network", "ls", *_):
                return "\n".join(self.networks)
            case ("rm", "--force", *ids):
                return self._remove("container", self.containers, ids)
            case ("network", "rm", *ids):
                return self._remove("network", self.networks, ids)
        raise AssertionError(arguments)

    def _remove(self, kind: str, existing: list[str], ids: list[str]) -> str:
        self._removed_by_another(self, kind)
        errors = [f"No such {kind}: {one}" for one in ids if one not in existing]
        errors += [f"removal of container {one} is already in progress" for one in ids if one in self.busy]
        existing[:] = [one for one in existing if one not in ids or one in self.busy]
        self.busy.clear()
        if errors:
            raise OperationError("\n".join(errors))
        return ""


def taken_over(monkeypatch: pytest.MonkeyPatch, engine: StackOnEngine, *, before_typing: Callable[[], None]) -> None:
    """Run `make take-over STACK=dev`; `before_typing` runs while the confirmation is pending."""
    monkeypatch.setattr(containers, "_docker", engine.docker)
    monkeypatch.setattr(containers, "location", lambda stack: "here")
    monkeypatch.setattr(take_over, "require_typed_name", lambda stack: before_typing())
    assert take_over.take_over("dev") == 0


def test_a_take_over_removes_every_container_and_network(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = StackOnEngine()
    taken_over(monkeypatch, engine, before_typing=lambda: None)
    assert (engine.containers, engine.networks) == ([], [])


def test_a_concurrent_take_over_may_remove_the_same_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    def ahead(engine: StackOnEngine, kind: str) -> None:
        remaining = engine.containers if kind == "container" else engine.networks
        if len(remaining) == len(LISTED):
            remaining.remove("c1")
            engine.busy.add("c2")
        elif kind == "network":
            remaining.clear()

    engine = StackOnEngine(ahead)
    taken_over(monkeypatch, engine, before_typing=lambda: None)
    assert (engine.containers, engine.networks) == ([], [])


def test_containers_created_in_the_meantime_stay_with_their_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another person has taken the stack over and brought it up."""
    engine = StackOnEngine()
    taken_over(monkeypatch, engine, before_typing=lambda: engine.containers.append("new"))
    assert (engine.containers, engine.networks) == (["new"], ["n1"])


def test_an_engine_that_refuses_a_removal_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def docker(stack: str, *arguments: str) -> str:
        if arguments[0] == "rm":
            raise OperationError("permission denied")
        return StackOnEngine().docker(stack, *arguments)

    monkeypatch.setattr(containers, "_docker", docker)
    with pytest.raises(OperationError, match="permission denied"):
        containers.remove("dev", LISTED)

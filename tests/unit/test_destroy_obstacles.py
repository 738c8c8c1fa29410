"""`make destroy` and `make wipe` name what belongs to others before they change anything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backends.docker.engine import IDENTITY_RECORD, STATE_LABEL
from operations import containers, stack
from operations.destroy import destroy
from operations.project import OperationError
from operations.wipe import wipe

OWN, FOREIGN = "a" * 64, "b" * 64
OWN_STATE = "state-1"
STATES = {OWN_STATE: "me@laptop in /home/me/first", "state-2": "me@laptop in /home/me/second"}
"""The states of the stack's containers, and who created them."""

RECORDED: list[dict[str, Any]] = [
    {"urn": f"urn:pulumi:dev::x::pulumi:index:Stash::{IDENTITY_RECORD}", "outputs": {"output": {"state": OWN_STATE}}}
]


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """The containers in the stack's only network, as the docker command lists them."""
    found = {OWN: {"Name": "pti-redis-dev"}}

    def docker(name: str, *arguments: str) -> str:
        match arguments[:2]:
            case ("network", "inspect"):
                return json.dumps([{"Name": "pti-redis-dev-net", "Containers": found}])
            case ("network", "ls"):
                return "1\n"
            case ("ps", "--all") if f"label={STATE_LABEL}" in arguments:
                return "".join(f"{state} {creator}\n" for state, creator in STATES.items())
            case ("ps", "--all"):
                return f"{OWN}\n"
        return ""

    monkeypatch.setattr(containers, "_docker", docker)
    monkeypatch.setattr(containers, "why_elsewhere", lambda *_: None)
    monkeypatch.setattr(stack, "recorded_state", lambda name: {"resources": RECORDED})
    return found


def test_a_foreign_container_is_reported_before_anything_is_destroyed(
    connected: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    connected[FOREIGN] = {"Name": "debug"}
    monkeypatch.setattr(stack, "destroy", lambda name: pytest.fail("destroyed"))
    for operation in (destroy, wipe):
        with pytest.raises(OperationError) as refused:
            operation("dev")
        assert "container 'debug' is in network 'pti-redis-dev-net'" in str(refused.value)
        assert "docker network disconnect --force pti-redis-dev-net debug" in str(refused.value)
        assert "pti-redis-dev'" not in str(refused.value)


def test_a_destroy_changes_nothing_unless_the_name_is_typed(
    connected: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connected
    monkeypatch.delitem(STATES, "state-2")
    destroyed: list[str] = []

    def record(name: str) -> int:
        destroyed.append(name)
        return 0

    monkeypatch.setattr(stack, "destroy", record)
    monkeypatch.setattr("builtins.input", lambda _: "prod")
    with pytest.raises(OperationError, match="Not confirmed"):
        destroy("dev")
    assert destroyed == []
    monkeypatch.setattr("builtins.input", lambda _: "dev")
    assert destroy("dev") == 0
    assert destroyed == ["dev"]


def test_a_stack_without_resources_is_not_destroyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "recorded_state", lambda name: {})
    with pytest.raises(OperationError, match="Stack 'dev' isn't up"):
        destroy("dev")


def test_the_stacks_own_containers_are_no_obstacle(
    connected: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connected
    monkeypatch.delitem(STATES, "state-2")
    assert containers.destroy_obstacles("dev", RECORDED) == []


@pytest.mark.parametrize(("recorded", "named"), [(RECORDED, ["second"]), ([], ["first", "second"])])
def test_containers_of_another_state_are_reported(
    connected: dict[str, dict[str, str]], recorded: list[dict[str, Any]], named: list[str]
) -> None:
    """Their volumes have the same stack label, and would be deleted."""
    assert connected
    obstacles = containers.destroy_obstacles("dev", recorded)
    assert len(obstacles) == len(named)
    for one, folder in zip(obstacles, named, strict=True):
        assert f"created by me@laptop in /home/me/{folder}" in one
        assert "make take-over STACK=dev" in one

"""`make wipe` names foreign containers in the stack's networks, on which a destroy would fail."""

from __future__ import annotations

import json

import pytest

from operations import containers, stack
from operations.project import OperationError
from operations.wipe import wipe

OWN, FOREIGN = "a" * 64, "b" * 64


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
            case ("ps", "--all"):
                return f"{OWN}\n"
        return ""

    monkeypatch.setattr(containers, "_docker", docker)
    monkeypatch.setattr(stack, "exists", lambda name: True)
    return found


def test_a_foreign_container_is_named_before_anything_is_destroyed(
    connected: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    connected[FOREIGN] = {"Name": "debug"}
    monkeypatch.setattr(stack, "destroy", lambda name: pytest.fail("destroyed"))
    with pytest.raises(OperationError) as refused:
        wipe("dev")
    assert "container 'debug' is in network 'pti-redis-dev-net'" in str(refused.value)
    assert "docker network disconnect --force pti-redis-dev-net debug" in str(refused.value)
    assert "pti-redis-dev'" not in str(refused.value)


def test_the_stacks_own_containers_are_no_obstacle(connected: dict[str, dict[str, str]]) -> None:
    assert connected
    assert containers.destroy_obstacles("dev") == []

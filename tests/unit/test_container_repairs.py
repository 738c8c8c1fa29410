"""Repairs of running containers that somebody changed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from operations.container_repairs import repair

REDIS, KAFKA, NETWORK, OTHER_NETWORK = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)


def container(identity: str, name: str, *networks: str) -> dict[str, Any]:
    """Return a container as the state has it."""
    connections = [{"name": network, "aliases": [name]} for network in networks]
    outputs = {"name": f"pti-{name}-dev", "restart": "unless-stopped", "networksAdvanced": connections}
    return {"type": "docker:index/container:Container", "id": identity, "outputs": outputs}


RECORDED = [
    {"type": "docker:index/network:Network", "id": NETWORK, "outputs": {}},
    container(REDIS, "redis", NETWORK),
    container(KAFKA, "kafka", NETWORK, OTHER_NETWORK),
]


class Engine:
    """The docker command with prepared responses."""

    def __init__(self) -> None:
        self.running = [REDIS, KAFKA, "e" * 64]
        self.networks = [NETWORK, OTHER_NETWORK]
        self.inspected = {
            REDIS: f"false unless-stopped {NETWORK}",
            KAFKA: f"false unless-stopped {OTHER_NETWORK} {NETWORK}",
        }
        self.repairs: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str) -> str:
        match arguments[0]:
            case "ps":
                return "\n".join(self.running)
            case "container":
                return "\n".join(f"{one} {self.inspected[one]}" for one in arguments[4:])
        if arguments[:2] == ("network", "ls"):
            return "\n".join(self.networks)
        self.repairs.append(arguments)
        return ""


@pytest.fixture
def engine() -> Engine:
    return Engine()


def test_containers_that_match_the_state_are_not_touched(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    repair(engine, RECORDED)
    assert engine.repairs == []
    assert capsys.readouterr().out == ""


def test_a_disconnected_container_is_connected_with_its_aliases(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.inspected[KAFKA] = f"false unless-stopped {NETWORK}"
    repair(engine, RECORDED)
    assert engine.repairs == [("network", "connect", "--alias", "kafka", OTHER_NETWORK, KAFKA)]
    assert "pti-kafka-dev" in capsys.readouterr().out


def test_a_container_without_any_network_is_connected(engine: Engine) -> None:
    engine.inspected[REDIS] = "false unless-stopped"
    repair(engine, RECORDED)
    assert engine.repairs == [("network", "connect", "--alias", "redis", NETWORK, REDIS)]


def test_a_paused_container_continues(engine: Engine) -> None:
    engine.inspected[REDIS] = f"true unless-stopped {NETWORK}"
    repair(engine, RECORDED)
    assert engine.repairs == [("unpause", REDIS)]


def test_a_changed_restart_policy_is_restored(engine: Engine) -> None:
    engine.inspected[REDIS] = f"false no {NETWORK}"
    repair(engine, RECORDED)
    assert engine.repairs == [("update", "--restart", "unless-stopped", REDIS)]


def test_a_removed_network_and_a_stopped_container_are_left_to_the_update(engine: Engine) -> None:
    engine.networks.remove(OTHER_NETWORK)
    engine.running.remove(REDIS)
    engine.inspected = {KAFKA: f"false unless-stopped {NETWORK}"}
    repair(engine, RECORDED)
    assert engine.repairs == []

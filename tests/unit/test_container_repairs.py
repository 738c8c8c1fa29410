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


def inspected(identity: str, *networks: str, restart: str = "unless-stopped", **state: bool) -> dict[str, Any]:
    """Return a container as `docker inspect` shows it."""
    return {
        "Id": identity,
        "State": {"Running": True, "Paused": False, **state},
        "HostConfig": {"RestartPolicy": {"Name": restart}},
        "NetworkSettings": {"Networks": {network: {"NetworkID": network} for network in networks}},
    }


class Engine:
    """The engine's objects, and the docker commands that change them."""

    def __init__(self) -> None:
        self.networks = [NETWORK, OTHER_NETWORK]
        self.containers = {
            REDIS: inspected(REDIS, NETWORK),
            KAFKA: inspected(KAFKA, OTHER_NETWORK, NETWORK),
            "e" * 64: inspected("e" * 64),
        }
        self.repairs: list[tuple[str, ...]] = []

    def repair(self) -> None:
        """Compare the engine with the state."""
        repair(self.containers.values(), self._docker, RECORDED)

    def _docker(self, *arguments: str) -> str:
        if arguments[:2] == ("network", "ls"):
            return "\n".join(self.networks)
        self.repairs.append(arguments)
        return ""


@pytest.fixture
def engine() -> Engine:
    return Engine()


def test_containers_that_match_the_state_are_not_touched(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.repair()
    assert engine.repairs == []
    assert capsys.readouterr().out == ""


def test_a_disconnected_container_is_connected_with_its_aliases(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.containers[KAFKA] = inspected(KAFKA, NETWORK)
    engine.repair()
    assert engine.repairs == [("network", "connect", "--alias", "kafka", OTHER_NETWORK, KAFKA)]
    assert "pti-kafka-dev" in capsys.readouterr().out


def test_a_container_without_any_network_is_connected(engine: Engine) -> None:
    engine.containers[REDIS] = inspected(REDIS)
    engine.repair()
    assert engine.repairs == [("network", "connect", "--alias", "redis", NETWORK, REDIS)]


def test_a_paused_container_continues(engine: Engine) -> None:
    engine.containers[REDIS] = inspected(REDIS, NETWORK, Paused=True)
    engine.repair()
    assert engine.repairs == [("unpause", REDIS)]


def test_a_changed_restart_policy_is_restored(engine: Engine) -> None:
    engine.containers[REDIS] = inspected(REDIS, NETWORK, restart="no")
    engine.repair()
    assert engine.repairs == [("update", "--restart", "unless-stopped", REDIS)]


def test_a_removed_network_and_a_stopped_container_are_left_to_the_update(engine: Engine) -> None:
    engine.networks.remove(OTHER_NETWORK)
    engine.containers = {REDIS: inspected(REDIS, Running=False), KAFKA: inspected(KAFKA, NETWORK)}
    engine.repair()
    assert engine.repairs == []

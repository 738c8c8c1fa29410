"""The configuration of a second stack beside the first one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import yaml

from operations import beside, configuration
from operations.project import OperationError
from settings.ports import published_ports

MODEL = "Pulumi.dev.yaml"
CONFIGURED = {"config": {"pti-calendar:backend": {"kind": "docker"}, "pti-calendar:credentials": "well-known"}}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the configuration of the stack dev."""
    for module in (beside, configuration):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / MODEL).write_text(yaml.safe_dump(CONFIGURED))
    return tmp_path


def ports(stack: str) -> dict[str, int]:
    return dict(published_ports(configuration.read_configuration(stack)[0]))


def test_every_port_is_moved_by_the_same_distance(checkout: Path) -> None:
    beside.beside("dev2", "dev")
    (distance,) = {ports("dev2")[key] - port for key, port in ports("dev").items()}
    assert distance % beside.PORT_STEP == 0
    assert distance > 0


def test_a_third_stack_avoids_the_ports_of_the_second(checkout: Path) -> None:
    for stack in ("dev2", "dev3"):
        beside.beside(stack, "dev")
    assert not {*ports("dev2").values()} & {*ports("dev3").values()}


def test_a_port_in_use_is_avoided(checkout: Path) -> None:
    beside.beside("dev2", "dev")
    first = ports("dev2")["redis.port"]
    (checkout / "Pulumi.dev2.yaml").unlink()
    with socket.create_server(("127.0.0.1", first)):
        beside.beside("dev2", "dev")
    assert ports("dev2")["redis.port"] != first


def test_an_existing_file_is_kept(checkout: Path) -> None:
    (checkout / "Pulumi.dev2.yaml").write_text("config: {}\n")
    with pytest.raises(OperationError, match="already exists; bring that stack up: make up STACK=dev2"):
        beside.beside("dev2", "dev")
    assert (checkout / "Pulumi.dev2.yaml").read_text() == "config: {}\n"


def test_secrets_are_not_copied(checkout: Path) -> None:
    secret = {"pti-calendar:credentials": "generated", "pti-calendar:redisPassword": {"secure": "v1:encrypted"}}
    (checkout / MODEL).write_text(yaml.safe_dump({"config": CONFIGURED["config"] | secret}))
    with pytest.raises(OperationError, match=r"has secrets \(redisPassword\).*--copy-config-from dev"):
        beside.beside("dev2", "dev")


@pytest.mark.parametrize("name", ["Dev", "dev/2", "../dev", "a" * 21, ""])
def test_a_name_that_no_stack_can_have_is_refused(checkout: Path, name: str) -> None:
    with pytest.raises(OperationError, match="can't be a stack's name"):
        beside.beside(name, "dev")

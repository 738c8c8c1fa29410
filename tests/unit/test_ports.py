"""Messages about host ports that are in use."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.docker.engine import Engine
from backends.docker.ports import PortsTaken, check
from recording.recorder import Recording, record

ADDRESS = "127.0.0.1"
LOCAL = Engine("unix:///var/run/docker.sock")


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of this machine with a listener."""
    with socket.socket() as holder:
        holder.bind((ADDRESS, 0))
        holder.listen()
        yield holder.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as released:
        released.bind((ADDRESS, 0))
        port: int = released.getsockname()[1]
        return port


@pytest.fixture(autouse=True)
def docker_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker command that lists no containers unless `list_own_containers` adds some."""
    command = tmp_path / "docker"
    command.write_text("#!/bin/sh\nexit 0\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return command


def list_own_containers(command: Path, *bindings: int) -> None:
    """Make the engine list a container of stack dev that publishes these ports, and one that publishes none."""
    ports = {f"{port}/tcp": [{"HostIp": ADDRESS, "HostPort": str(port)}] for port in bindings}
    answer = [{"NetworkSettings": {"Ports": {**ports, "9/tcp": None}}}, {"NetworkSettings": {"Ports": {}}}]
    (command.parent / "answer.json").write_text(json.dumps(answer))
    command.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '"ps --quiet --filter label=pti-calendar.stack=dev") echo one; echo two;;\n'
        '"ps "*) ;;\n'
        f'"inspect one two") cat {command.parent}/answer.json;;\n'
        '*) echo "unexpected: $*"; exit 1;;\n'
        "esac\n"
    )


def check_ports(
    *ports: tuple[str, int], preview: bool = False, engine: Engine = LOCAL, stack: str = "dev"
) -> list[str]:
    """Return the messages of a preview or an update."""

    def program() -> None:
        check(ports, engine=engine, stack=stack, address=ADDRESS)

    recording: Recording[None] = record(program, preview=preview)
    return recording.log


def port_error(key: str, port: int, other: int) -> str:
    """Return the lines about one port that is in use."""
    return (
        "Host ports of this stack are used by other programs; nothing has been changed.\n"
        f"  127.0.0.1:{port}: stop the process that uses it (sudo lsof -nP -iTCP:{port} -sTCP:LISTEN), "
        f"or set another port: pulumi config set --path 'pti-calendar:{key}' {other}"
    )


def other_port(port: int) -> int:
    """Return the port suggested instead."""
    return port + 10_000 if port < 50_000 else port - 10_000


def test_an_update_refuses_a_taken_port_and_names_the_fix(taken_port: int) -> None:
    with pytest.raises(PortsTaken) as refused:
        check_ports(("postgres.port", taken_port))
    assert str(refused.value) == port_error("postgres.port", taken_port, other_port(taken_port))


def test_a_preview_only_warns_of_a_taken_port(taken_port: int) -> None:
    found = port_error("redis.port", taken_port, other_port(taken_port))
    assert check_ports(("redis.port", taken_port), preview=True) == [
        f"WARNING {found.replace('config set', 'config set -s dev')}"
    ]


def test_exactly_the_taken_ports_are_reported(taken_port: int, free_port: int) -> None:
    with socket.socket() as holder:
        holder.bind((ADDRESS, 0))
        holder.listen()
        second = holder.getsockname()[1]
        with pytest.raises(PortsTaken) as refused:
            check_ports(("postgres.port", taken_port), ("redis.port", free_port), ("kafka.port", second))
    assert str(refused.value).count("\n") == 2
    assert "pti-calendar:postgres.port" in str(refused.value)
    assert "pti-calendar:kafka.port" in str(refused.value)


def test_a_bound_port_without_a_listener_counts_as_taken(free_port: int) -> None:
    with socket.socket() as holder:
        holder.bind((ADDRESS, free_port))
        with pytest.raises(PortsTaken):
            check_ports(("postgres.port", free_port))


def test_a_free_port_passes(free_port: int) -> None:
    assert check_ports(("postgres.port", free_port)) == []


def test_a_port_of_the_stack_itself_is_ignored(taken_port: int, docker_command: Path) -> None:
    list_own_containers(docker_command, taken_port)
    assert check_ports(("postgres.port", taken_port)) == []


def test_a_port_that_another_stack_holds_is_taken(taken_port: int, docker_command: Path) -> None:
    list_own_containers(docker_command, taken_port)
    with pytest.raises(PortsTaken):
        check_ports(("postgres.port", taken_port), stack="test")


def test_a_taken_port_is_reported_next_to_ports_of_the_stack(
    taken_port: int, free_port: int, docker_command: Path
) -> None:
    list_own_containers(docker_command, free_port)
    with pytest.raises(PortsTaken):
        check_ports(("postgres.port", taken_port))


@pytest.mark.parametrize("host", ["ssh://me@engine", "tcp://engine:2376"])
def test_ports_of_another_machine_are_not_checked(taken_port: int, host: str) -> None:
    assert check_ports(("postgres.port", taken_port), engine=Engine(host)) == []


def test_docker_host_may_name_a_remote_engine(taken_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@engine")
    assert check_ports(("postgres.port", taken_port), engine=Engine()) == []


def test_an_engine_without_an_address_is_local(taken_port: int) -> None:
    with pytest.raises(PortsTaken):
        check_ports(("postgres.port", taken_port), engine=Engine())


@pytest.mark.parametrize("preview", [True, False])
def test_without_a_responding_engine_nothing_is_checked(taken_port: int, docker_command: Path, preview: bool) -> None:
    docker_command.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon'; exit 1\n")
    assert check_ports(("postgres.port", taken_port), preview=preview) == []


def test_without_a_docker_command_nothing_is_checked(taken_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert check_ports(("postgres.port", taken_port)) == []

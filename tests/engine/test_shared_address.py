"""One state with two engines at the same address, as `unix:///var/run/docker.sock` is on two machines."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.docker.engine import Engine
from tests.engine import docker_engine
from tests.engine.conftest import MakeStack
from tests.engine.docker_engine import docker
from tests.engine.own_engine import OwnEngine
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.small_programs import WORKLOADS
from tests.engine.test_two_states import OTHER_ENGINE_MESSAGE, ids, other_engine, stack

__all__ = ["other_engine", "stack"]

DATA_FILE = "/data/kept"


class SharedAddress:
    """One address of different engines."""

    def __init__(self, folder: Path, engine: str) -> None:
        self._socket = folder / "engine.sock"
        self.address = f"unix://{self._socket}"
        self.leads_to(engine)

    def leads_to(self, engine: str) -> None:
        """Make the address lead to another engine."""
        self._socket.unlink(missing_ok=True)
        self._socket.symlink_to(engine.removeprefix("unix://"))


@pytest.fixture
def machine_engine() -> str:
    """The address of this machine's engine."""
    engine = Engine()
    if not engine.address.startswith("unix://"):
        pytest.skip(f"the engine's address {engine.address} isn't a socket of this machine")
    return engine.address


@pytest.fixture
def shared_address(machine_engine: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedAddress]:
    """The address that everything uses; it leads to this machine's engine before and after the test."""
    # A socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory() as folder:
        made = SharedAddress(Path(folder), machine_engine)
        monkeypatch.setenv("DOCKER_HOST", made.address)
        yield made
        made.leads_to(machine_engine)


@pytest.fixture
def shared_stack(make_stack: MakeStack, shared_address: SharedAddress) -> PulumiStack:
    """A running stack with data on this machine's engine, whose state is used with both engines.

    `make_stack` comes first: it then removes the stack after the address has been put back.
    """
    made: PulumiStack = make_stack(program=WORKLOADS, configuration={"scenario": "of each kind"})
    made.up().succeeded()
    docker("exec", f"pti-keeper-{made.name}", "sh", "-c", f"echo before > {DATA_FILE}")
    return made


def resources(stack: PulumiStack) -> set[tuple[str, str]]:
    """Return the URN and the id of each resource in the state."""
    return {(one["urn"], one.get("id", "")) for one in stack.export()["deployment"].get("resources") or []}


def data(stack: PulumiStack) -> str:
    return docker("exec", f"pti-keeper-{stack.name}", "cat", DATA_FILE)


def test_no_command_that_runs_the_program_changes_the_state_of_another_engine_at_the_same_address(
    shared_stack: PulumiStack, shared_address: SharedAddress, other_engine: OwnEngine, machine_engine: str
) -> None:
    recorded, running = resources(shared_stack), ids(shared_stack)

    shared_address.leads_to(other_engine.address)
    for refused in (
        shared_stack.preview("--refresh"),
        shared_stack.up("--refresh", "--skip-preview=false"),
        shared_stack.up("--refresh", "--run-program"),
        shared_stack.refresh("--run-program"),
        shared_stack.destroy("--refresh", "--run-program", "--skip-preview=false"),
    ):
        assert OTHER_ENGINE_MESSAGE in refused.failed().output
        assert "Traceback" not in refused.output
        assert resources(shared_stack) == recorded

    shared_address.leads_to(machine_engine)
    shared_stack.refresh("--run-program").succeeded()
    assert resources(shared_stack) == recorded
    assert ids(shared_stack) == running
    shared_stack.preview("--refresh", "--expect-no-changes").succeeded()


def test_a_destroy_that_runs_the_program_leaves_only_the_data(stack: PulumiStack) -> None:
    docker("exec", f"pti-keeper-{stack.name}", "sh", "-c", f"echo before > {DATA_FILE}")
    volumes = docker_engine.persistent_volumes(stack.name)

    stack.destroy("--refresh", "--run-program", "--skip-preview=false").succeeded()

    assert resources(stack) == set()
    assert docker_engine.containers(stack.name) == docker_engine.networks(stack.name) == []
    assert {one["Name"] for one in docker_engine.volumes(stack.name)} == volumes
    stack.up().succeeded()
    assert data(stack) == "before\n"


@pytest.mark.parametrize("command", ["refresh", "destroy"])
def test_a_state_emptied_on_another_engine_is_restored_with_the_data(
    shared_stack: PulumiStack,
    shared_address: SharedAddress,
    other_engine: OwnEngine,
    machine_engine: str,
    command: str,
) -> None:
    """Without the program, Pulumi can't refuse: see docs/runbook.md."""
    running = ids(shared_stack)
    shared_address.leads_to(other_engine.address)
    if command == "refresh":
        shared_stack.refresh().succeeded()
    else:
        shared_stack.destroy("--refresh").succeeded()
    assert not [urn for urn, _ in resources(shared_stack) if "docker:index/container:Container" in urn]

    shared_address.leads_to(machine_engine)
    assert ids(shared_stack) == running
    if command == "destroy":
        assert f"make take-over STACK={shared_stack.name}" in shared_stack.up().failed().output
        docker_engine.remove_containers_and_networks(shared_stack.name)
    shared_stack.up().succeeded()
    assert data(shared_stack) == "before\n"
    shared_stack.preview("--refresh", "--expect-no-changes").succeeded()

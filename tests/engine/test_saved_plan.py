"""A plan that one machine saves (`pulumi preview --save-plan`) is carried out on another one (`pulumi up --plan`).

On the other one, the host ports are free, and the engine has another network.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backends.docker.ranges import NetworkRanges
from settings.backend import BackendSettings
from tests.engine import configurations, docker_engine
from tests.engine.conftest import MakeStack
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import PulumiStack
from tests.ports import free_port

UNUSED_ADDRESS = "tcp://127.0.0.1:1"
"""An address at which nothing listens."""


@contextmanager
def listening() -> Iterator[int]:
    """A host port that is in use."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        yield listener.getsockname()[1]


@contextmanager
def network_in_the_way(stack: PulumiStack, workload: str) -> Iterator[None]:
    """A network of another project, in the range that the workload's network would get."""
    taken = NetworkRanges(BackendSettings().network_pool, {}).allocate(f"pti-{workload}-{stack.name}")
    name = f"shop-{stack.name}"
    docker("network", "create", "--subnet", str(taken), name)
    try:
        yield
    finally:
        docker("network", "rm", name)


def test_a_plan_is_carried_out_on_another_machine(make_stack: MakeStack, tmp_path: Path) -> None:
    stack = make_stack(configuration=configurations.kraft())
    plan = tmp_path / "plan.json"
    with listening() as port:
        stack.configure({"redis": {"port": port}})
        assert "Host ports of this stack are used" in stack.preview("--save-plan", str(plan)).succeeded().output
        refused = stack.up("--plan", str(plan)).failed()
        assert f"127.0.0.1:{port}: stop the process that uses it" in refused.output
        assert refused.changes == []
        assert docker_engine.networks(stack.name) == []
    with network_in_the_way(stack, "redis"):
        assert "create Network redis" in stack.up("--plan", str(plan)).succeeded().changes
    stack.preview("--refresh", "--expect-no-changes").succeeded()

    stack.configure({"redis": {"port": port, "maxMemoryMib": 96}})
    planned = stack.preview("--save-plan", str(plan)).succeeded()
    outcome = stack.up("--plan", str(plan)).succeeded()
    assert "redis" in outcome.replaced
    assert outcome.changes == planned.changes
    stack.preview("--refresh", "--expect-no-changes").succeeded()


@pytest.mark.parametrize("command", ["preview", "up"])
def test_without_an_engine_both_commands_end_with_its_address(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    stack = make_stack(configuration=configurations.kraft())
    monkeypatch.setenv("DOCKER_HOST", UNUSED_ADDRESS)
    refused = stack.up().failed() if command == "up" else stack.preview().failed()
    assert f"No Docker engine responds at {UNUSED_ADDRESS}" in refused.output
    assert "Traceback" not in refused.output
    assert refused.changes == []

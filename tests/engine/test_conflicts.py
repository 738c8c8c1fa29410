"""Ports and objects of another owner are reported and not changed."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.engine import configurations, docker_engine
from tests.engine.conftest import MakeStack
from tests.engine.docker_engine import docker
from tests.engine.small_programs import WORKLOADS
from tests.failures import FailureRecord
from tests.ports import free_port


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which this test listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_stops_up_before_anything_is_created(
    make_stack: MakeStack, taken_port: int, failure_record: FailureRecord
) -> None:
    effect = "the update refuses to start and names the setting to change"
    failure_record.begin("A host port is taken by another program", on="Docker", effect=effect)
    stack = make_stack(configuration=configurations.kraft())
    stack.configure({"redis": {"port": taken_port}})

    refused = stack.up().failed()

    assert f"127.0.0.1:{taken_port}" in refused.output
    assert f"pulumi config set -s {stack.name} --path 'pti-calendar:redis.port'" in refused.output
    assert "postgres.port" not in refused.output
    assert "Traceback" not in refused.output
    assert list(refused.changes) == []
    assert docker_engine.containers(stack.name) == []
    assert docker_engine.networks(stack.name) == []
    assert docker_engine.volumes(stack.name) == []
    failure_record.set_lost("nothing: nothing was created")


def test_a_taken_port_is_a_warning_in_a_preview(make_stack: MakeStack, taken_port: int) -> None:
    stack = make_stack(configuration=configurations.kraft())
    stack.configure({"redis": {"port": taken_port}})

    preview = stack.preview().succeeded()

    assert "warning: Host ports of this stack are used" in preview.output
    assert f"pulumi config set -s {stack.name} --path 'pti-calendar:redis.port'" in preview.output


FOREIGN = {
    "container": ("migration", "pti-store", ["--entrypoint", "true", "redis:8.10.1"]),
    "network": ("migration", "pti-store", []),
    "volume": ("keeper", "pti-keeper-data", []),
}
"""Maps each kind to its creation scenario, its name on the engine before the stack's name, and a command that creates
one by hand."""


@pytest.mark.parametrize("kind", FOREIGN)
def test_an_object_of_another_owner_is_not_changed(make_stack: MakeStack, kind: str) -> None:
    scenario, part, more = FOREIGN[kind]
    stack = make_stack(program=WORKLOADS, configuration={"scenario": scenario})
    name = f"{part}-{stack.name}"
    docker(kind, "create", *(["--name", name] if kind == "container" else [name]), *more)
    foreign = docker(kind, "inspect", name)
    try:
        for refused in (stack.preview().failed(), stack.up().failed()):
            assert f"a {kind} named '{name}' exists and does not belong to stack '{stack.name}'" in refused.output
            assert f"docker {kind} rm {name}" in refused.output
            assert "Traceback" not in refused.output
        assert docker(kind, "inspect", name) == foreign
    finally:
        docker(kind, "rm", name)

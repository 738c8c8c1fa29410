"""Two engines on one machine: every part of an operation uses the one that the docker command would use."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from backends.docker.endpoint import find
from operations.project import ROOT
from settings.stores.postgres import PostgresSettings
from settings.stores.redis import RedisSettings
from tests.e2e.clone import Clone
from tests.engine import docker_engine
from tests.engine.docker_engine import docker
from tests.engine.own_engine import OwnEngine, own_engine, why_unavailable
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.small_programs import WORKLOADS
from tests.ports import free_ports

CONTEXT = "second"


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnEngine]:
    """A second engine, and a context for it in a configuration of the docker command; it isn't selected."""
    if reason := why_unavailable():
        pytest.skip(reason)
    with own_engine() as engine, pytest.MonkeyPatch.context() as patch:
        for image in (RedisSettings().image, PostgresSettings().image):
            engine.load(image)
        patch.setenv("DOCKER_CONFIG", str(tmp_path_factory.mktemp("docker")))
        patch.delenv("DOCKER_HOST", raising=False)
        docker("context", "create", CONTEXT, "--docker", f"host={engine.address}")
        yield engine


@pytest.fixture
def stack(second: OwnEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulumiStack]:
    """A stack of a store, a workload with data, a task and a service, while the second engine's context is chosen."""
    monkeypatch.setenv("DOCKER_CONTEXT", CONTEXT)
    made = PulumiStack(tmp_path, program=WORKLOADS, configuration={"scenario": "of each kind"})
    yield made
    monkeypatch.setenv("DOCKER_CONTEXT", CONTEXT)
    made.remove()


def on_first_engine(*arguments: str) -> str:
    """Run a docker command on the machine's engine."""
    return docker("--context", "default", *arguments)


def objects_on_first_engine(stack: str) -> str:
    """Return the first engine's objects of a stack."""
    label = ("--filter", f"label={docker_engine.STACK_LABEL}={stack}", "--quiet")
    return "".join(on_first_engine(*kind, *label) for kind in (("ps", "--all"), ("volume", "ls"), ("network", "ls")))


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"DOCKER_CONTEXT": CONTEXT},
        {"DOCKER_CONTEXT": "default"},
        {"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_CONTEXT": CONTEXT},
        {"DOCKER_HOST": "127.0.0.1:1"},
    ],
)
@pytest.mark.parametrize("selected", ["default", CONTEXT])
def test_the_engine_is_the_one_of_the_docker_command(
    second: OwnEngine, monkeypatch: pytest.MonkeyPatch, selected: str, variables: Mapping[str, str]
) -> None:
    docker("context", "use", selected)
    with monkeypatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        expected = docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").strip()
        assert find(None, os.environ).address == expected


def test_pulumi_uses_only_the_chosen_context_and_destroys_where_it_created(
    second: OwnEngine, stack: PulumiStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.up().succeeded()

    assert docker_engine.workloads(stack.name).keys() >= {"store", "keeper", "reader"}
    assert objects_on_first_engine(stack.name) == ""
    stack.preview("--refresh", "--expect-no-changes").succeeded()

    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    stack.destroy().succeeded()

    monkeypatch.setenv("DOCKER_CONTEXT", CONTEXT)
    assert docker_engine.containers(stack.name) == []
    assert docker_engine.networks(stack.name) == []


def test_without_the_context_nothing_is_registered(
    second: OwnEngine, stack: PulumiStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")

    refused = stack.up().failed()

    assert "DOCKER_CONTEXT 'gone': there is no such context" in refused.output
    assert "Traceback" not in refused.output
    registered = stack.export()["deployment"].get("resources") or []
    assert [one["type"] for one in registered] in ([], ["pulumi:pulumi:Stack"])
    assert objects_on_first_engine(stack.name) == ""


def test_the_operations_use_only_the_selected_context(second: OwnEngine, tmp_path: Path) -> None:
    docker("context", "use", CONTEXT)
    clone = Clone(tmp_path)
    name = f"t{secrets.token_hex(3)}"
    postgres, redis = free_ports(2)
    configuration = {
        "pti-calendar:credentials": "well-known",
        "pti-calendar:postgres": {"port": postgres},
        "pti-calendar:redis": {"port": redis},
        "pti-calendar:kafka": {"mode": "external", "external": {"bootstrapServers": ["kafka.example.com:9092"]}},
    }
    file = clone.root / f"Pulumi.{name}.yaml"
    file.write_text(yaml.safe_dump({"config": configuration}))
    (clone.root / ".venv").symlink_to(ROOT / ".venv")
    state = {"PULUMI_BACKEND_URL": f"file://{tmp_path}?metadata=skip", "PULUMI_CONFIG_PASSPHRASE": "a test's"}
    place = f"on the Docker engine {second.address} (current Docker context '{CONTEXT}')"

    assert place in clone.operate("up", "--stack", name, environment=state).succeeded().output
    assert objects_on_first_engine(name) == ""
    shown = clone.operate("status", "--stack", name, environment=state).succeeded().output
    assert place in shown
    assert f"127.0.0.1:{postgres}" in shown

    # The setting of the stack precedes a variable.
    configured = yaml.safe_load(file.read_text())
    configured["config"]["pti-calendar:backend"] = {"host": second.address}
    file.write_text(yaml.safe_dump(configured))
    environment = state | {"DOCKER_CONTEXT": "default"}
    assert "· no changes" in clone.operate("up", "--stack", name, environment=environment).succeeded().output
    wiped = clone.operate("wipe", "--stack", name, typed=name, environment=environment).succeeded().output
    assert f"on the Docker engine {second.address} (backend.host)" in wiped
    assert docker_engine.volumes(name) == docker_engine.containers(name) == []

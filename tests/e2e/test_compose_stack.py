"""The rendered stack, run by Docker Compose alone, passes the same journey as the stack run by Pulumi."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from backends.create import create_backend
from components.platform import Platform, PlatformArgs
from contract import StackOutputs
from recording.recorder import record
from settings import NAMESPACE, Settings, parse
from settings.credentials import required_credentials
from tests.e2e.clone import Clone, Outcome, directory_with
from tests.e2e.journey import Journey
from tests.engine import docker_engine, restarts
from tests.engine.configurations import zookeeper_with_tools
from tests.engine.stores import Stores
from tests.unit.platform_recording import pulumi_config

MARKER = "written-before-the-down"
TOOLS = ("pgadmin", "kafka-ui", "redis-commander")


def kraft_with_tools_and_generated_secrets() -> dict[str, Any]:
    """Return a configuration with Kafka's other mode, and every secret from an environment file."""
    configured = zookeeper_with_tools()
    kafka = {"port": configured["kafka"]["port"], "mode": "kraft"}
    return configured | {"kafka": kafka, "credentials": "generated"}


@dataclass
class ComposeStack:
    """A clone with a rendered stack, and a PATH with only Docker."""

    clone: Clone
    name: str
    configuration: Mapping[str, Any]
    path: Path

    def __post_init__(self) -> None:
        document = {f"{NAMESPACE}:{key}": value for key, value in self.configuration.items()}
        (self.clone.root / f"Pulumi.{self.name}.yaml").write_text(yaml.safe_dump({"config": document}))
        self.values: dict[str, str] = {}

    @property
    def folder(self) -> Path:
        """Return the folder with the rendered files."""
        return self.clone.root / "rendered" / self.name

    def render(self) -> Outcome:
        """Run `python -m operations render` with an empty PATH."""
        return self.clone.operate("render", "--stack", self.name, environment={"PATH": "/nonexistent"})

    def fill_in(self) -> None:
        """Copy `.env.example` to `.env` and fill in the empty variables, as an operator does."""
        example = (self.folder / ".env.example").read_text()
        self.values = {name: secrets.token_urlsafe(24) for name in re.findall(r"^([A-Z_]+)=$", example, re.M)}
        filled = re.sub(r"^([A-Z_]+)=$", lambda found: f"{found[0]}{self.values[found[1]]}", example, flags=re.M)
        (self.folder / ".env").write_text(filled)

    def compose(self, *arguments: str) -> Outcome:
        """Run `docker compose -f rendered/<stack>/compose.yaml …`."""
        file = str(self.folder / "compose.yaml")
        return self.clone.run("docker", "compose", "-f", file, *arguments, environment={"PATH": str(self.path)})

    def settings(self) -> Settings:
        """Return the settings of its configuration."""
        return parse(pulumi_config(self.configuration))

    def outputs(self) -> StackOutputs[str]:
        """Return the outputs that Pulumi would have, with the values that Compose used."""
        settings = self.settings()
        values = {one.key: self.values.get(one.variable, one.well_known) for one in required_credentials(settings)}
        supplied = {f"{NAMESPACE}:{key}": value for key, value in values.items() if value is not None}

        def program() -> None:
            backend = create_backend(settings, stack=self.name)
            platform = Platform("platform", PlatformArgs(settings=settings, backend=backend, stack=self.name))
            for name, value in platform.outputs.as_mapping().items():
                pulumi.export(name, value)

        recording = record(program, raw=supplied, secret=[*supplied], stack=self.name)
        return StackOutputs.parse(recording.exports)

    def journey(self) -> Journey:
        """Return the journey over its ports."""
        return Journey(self.name, self.outputs(), None)


CONFIGURATIONS = [zookeeper_with_tools, kraft_with_tools_and_generated_secrets]


@pytest.fixture(params=CONFIGURATIONS, ids=lambda made: made.__name__)
def rendered(request: pytest.FixtureRequest, compose: str, tmp_path: Path) -> Iterator[ComposeStack]:
    """Provide a rendered stack with a unique name, ready to run; remove it at the end."""
    path = directory_with(tmp_path / "bin", "docker")
    stack = ComposeStack(Clone(tmp_path / "machine"), f"c{secrets.token_hex(3)}", request.param(), path)
    restarts.watch(stack.name)
    try:
        print(f"render: {stack.render().succeeded().seconds:.1f} s")
        stack.fill_in()
        yield stack
    finally:
        docker_engine.remove_everything(stack.name)


def test_rendering_twice_gives_the_same_bytes(rendered: ComposeStack) -> None:
    files = {path: path.read_bytes() for path in rendered.folder.iterdir() if path.name != ".env"}
    assert {path.name for path in files} == {"compose.yaml", ".env.example"}

    rendered.render().succeeded()

    assert {path: path.read_bytes() for path in files} == files


def test_the_environment_example_lists_exactly_the_files_variables(rendered: ComposeStack) -> None:
    variables = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", (rendered.folder / "compose.yaml").read_text()))
    listed = set(re.findall(r"^(?:# )?([A-Z_]+)=", (rendered.folder / ".env.example").read_text(), re.M))

    assert listed == variables
    (rendered.folder / ".env").unlink()
    incomplete = rendered.compose("config", "--quiet")
    if rendered.settings().credentials == "well-known":
        incomplete.succeeded()
    else:
        assert "in the environment file" in incomplete.failed().output


# The dev stack isn't run here, because another suite checks that its Compose file equals what Pulumi runs.
@pytest.mark.parametrize("rendered", [kraft_with_tools_and_generated_secrets], indirect=True)
def test_compose_alone_runs_the_stack_and_keeps_its_data(rendered: ComposeStack) -> None:
    up = rendered.compose("up", "--wait").succeeded()
    print(f"docker compose up --wait: {up.seconds:.0f} s")
    assert {*health(rendered.name).values()} == {"healthy"}
    assert health(rendered.name).keys() == {"postgres", "databases", "redis", "kafka", *TOOLS}

    rendered.journey().whole()

    Stores(rendered.outputs()).write(MARKER)
    kept = set(docker_engine.persistent_volumes(rendered.name))
    assert kept
    rendered.compose("down").succeeded()
    assert docker_engine.containers(rendered.name) == []
    assert set(docker_engine.persistent_volumes(rendered.name)) == kept
    rendered.compose("up", "--wait").succeeded()
    Stores(rendered.outputs()).check(MARKER)


def health(stack: str) -> dict[str, str]:
    """Map each workload to its health. Return the containers that copied files; they must have ended by now."""
    return {
        one["Config"]["Labels"][docker_engine.WORKLOAD_LABEL]: one["State"]["Health"]["Status"]
        for one in docker_engine.containers(stack)
        if one["State"]["Running"]
    }

"""Fixtures that run the whole program on a given configuration, without a Docker engine or a cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

import settings
from backends.addresses import Addresses
from backends.create import create_backend
from backends.docker.endpoint import VARIABLES
from components.platform import Platform, PlatformArgs
from recording.recorder import Recording, record
from settings.catalog import SERVICES
from tests.unit.kubernetes_recording import kubernetes_provider_mock
from tests.unit.paths import ROOT
from tests.unit.platform_recording import (
    RecordedPlatform,
    RecordPlatform,
    pulumi_config,
    record_platform_once,
    tls_provider_mock,
)

# Show both sides of a failed comparison.
pytest.register_assert_rewrite("tests.unit.mistakes")

Deploy = Callable[..., Recording[None]]


@pytest.fixture(scope="session", autouse=True)
def docker_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A configuration of the docker command without contexts, because recordings could depend on them."""
    plugins = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "cli-plugins"
    folder = tmp_path_factory.mktemp("docker-configuration")
    if plugins.is_dir():
        (folder / "cli-plugins").symlink_to(plugins)
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        patch.setenv("DOCKER_CONFIG", str(folder))
        yield


def provider_mock(type_: str, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Answer resource registrations like the providers of a stack."""
    return (
        kubernetes_provider_mock(type_, inputs) if type_.startswith("kubernetes:") else tls_provider_mock(type_, inputs)
    )


def deploy_platform(
    configuration: Mapping[str, Any] | None = None, secrets: Mapping[str, str] | None = None, *, stack: str = "dev"
) -> Recording[None]:
    """Run settings, backend and platform like the entry point."""
    raw, encrypted = pulumi_config(configuration or {}), pulumi_config(secrets or {})

    def program() -> None:
        with Addresses(project=pulumi.get_project(), stack=stack):
            configured = settings.load("dev")
            backend = create_backend(configured, stack=stack)
            platform = Platform("platform", PlatformArgs(settings=configured, backend=backend, stack=stack))
            # Unlike in the entry point, outputs aren't marked as secret as a whole here, so every secret must be marked
            # separately.
            for name, value in platform.outputs.as_mapping().items():
                pulumi.export(name, value)

    return record(program, mock=provider_mock, raw=raw | encrypted, secret=[*encrypted], stack=stack)


def stack_file(stack: str) -> Mapping[str, Any]:
    """Return the configuration in `Pulumi.<stack>.yaml`."""
    found: Mapping[str, Any] = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    return found


GENERATED_KRAFT: Mapping[str, Any] = {"kafka": {"mode": "kraft"}, "protect": True}
"""Sets every optional feature to the opposite of its value in dev."""

FULL_DOCKER: Mapping[str, Any] = {
    "credentials": "well-known",
    "services": {"deploy": "all", "migrationCommand": ["npm", "run", "migrate"]},
    "frontends": {"deploy": "all"},
    "gateway": {"enabled": True},
    "monitoring": {"enabled": True},
    "devTools": {"enabled": True},
}
"""A configuration that enables everything one Docker engine can run."""

PROVIDER_SECRETS = {secret.key: f"a {secret.key}" for service in SERVICES for secret in service.secrets}
"""Secrets that an operator must supply for a stack with all services."""

PROD_SECRETS = {**PROVIDER_SECRETS, "alertWebhookUrl": "an alertWebhookUrl"}
"""Secrets that an operator must supply for the stack in `Pulumi.prod.yaml`."""


@pytest.fixture(scope="session")
def deploy() -> Deploy:
    """Return a function that runs the program; results are cached per configuration.

    The cached results have no hooks: hooks would keep every resource of the run, with the tasks of its outputs. At the
    end of each run, asyncio searches the tasks of all earlier ones; after three large runs, this took longer than a
    small run.
    """
    known: dict[str, Recording[None]] = {}

    def run(
        configuration: Mapping[str, Any] | None = None, secrets: Mapping[str, str] | None = None, *, stack: str = "dev"
    ) -> Recording[None]:
        key = json.dumps([configuration or {}, secrets or {}, stack])
        if key not in known:
            known[key] = replace(deploy_platform(configuration, secrets, stack=stack), hooks={})
        return known[key]

    return run


@pytest.fixture(scope="session")
def record_platform() -> RecordPlatform:
    """Return a function that runs the program on a recording backend; results are cached per configuration."""
    known: dict[str, RecordedPlatform] = {}

    def run(configuration: Mapping[str, Any], secrets: Mapping[str, str] | None = None) -> RecordedPlatform:
        key = json.dumps([configuration, secrets or {}])
        if key not in known:
            known[key] = record_platform_once(configuration, secrets)
        return known[key]

    return run


@pytest.fixture(scope="session")
def dev(deploy: Deploy) -> Recording[None]:
    """The stack in `Pulumi.dev.yaml`."""
    return deploy(stack_file("dev"))

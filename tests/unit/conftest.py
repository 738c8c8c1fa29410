"""The whole program, run without an engine on a configuration of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pytest
import yaml

import settings
from backends.create import create_backend
from components.platform import Platform, PlatformArgs
from operations.render.recorder import Recording, record
from tests.unit.paths import ROOT

Deploy = Callable[..., Recording[Platform]]


def as_raw(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Configuration as Pulumi hands it to a program: full keys to text, objects as JSON."""
    return {
        key if ":" in key else f"{settings.NAMESPACE}:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in configuration.items()
    }


def deploy_platform(
    configuration: Mapping[str, Any] | None = None, secrets: Mapping[str, str] | None = None, *, stack: str = "dev"
) -> Recording[Platform]:
    """Runs settings → backend → platform, as the entrance does."""
    raw, encrypted = as_raw(configuration or {}), as_raw(secrets or {})

    def program() -> Platform:
        configured = settings.load()
        backend = create_backend(configured, stack=stack)
        platform = Platform("platform", PlatformArgs(settings=configured, backend=backend, stack=stack))
        # Without the mark that the entrance puts on whole outputs: what is secret here is so by itself.
        for name, value in platform.outputs.as_mapping().items():
            pulumi.export(name, value)
        return platform

    return record(program, raw=raw | encrypted, secret=[*encrypted], stack=stack)


def stack_file(stack: str) -> Mapping[str, Any]:
    """The configuration in `Pulumi.<stack>.yaml`."""
    found: Mapping[str, Any] = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    return found


GENERATED_KRAFT: Mapping[str, Any] = {"kafka": {"mode": "kraft"}, "protect": True}
"""Everything optional the other way round than in dev."""


@pytest.fixture(scope="session")
def deploy() -> Deploy:
    """Runs the program; a configuration that was run before is not run again."""
    known: dict[str, Recording[Platform]] = {}

    def run(
        configuration: Mapping[str, Any] | None = None, secrets: Mapping[str, str] | None = None, *, stack: str = "dev"
    ) -> Recording[Platform]:
        key = json.dumps([configuration, secrets, stack])
        if key not in known:
            known[key] = deploy_platform(configuration, secrets, stack=stack)
        return known[key]

    return run


@pytest.fixture(scope="session")
def dev(deploy: Deploy) -> Recording[Platform]:
    """The stack of `Pulumi.dev.yaml`."""
    return deploy(stack_file("dev"))

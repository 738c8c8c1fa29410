"""No anonymous volumes: an image's VOLUME creates one per container, which Pulumi doesn't remove with the container."""

from __future__ import annotations

import re

import pytest

from tests.engine import docker_engine
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import PulumiStack

ANONYMOUS_VOLUME_PATTERN = re.compile(r"[0-9a-f]{64}")


@pytest.fixture(params=["dev_like_stack", "stores_stack"])
def stack(request: pytest.FixtureRequest) -> PulumiStack:
    """A running stack of each Kafka mode."""
    found: PulumiStack = request.getfixturevalue(request.param)
    return found


def test_no_container_has_an_anonymous_volume(stack: PulumiStack) -> None:
    containers = docker_engine.containers(stack.name)
    images = docker("image", "inspect", "--format", "{{json .Config.Volumes}}", *{one["Image"] for one in containers})
    assert "/var/lib/postgresql" in images, "an image that declares a volume is among them"

    assert [
        (one["Name"], mount["Destination"])
        for one in containers
        for mount in one["Mounts"]
        if mount["Type"] == "volume" and ANONYMOUS_VOLUME_PATTERN.fullmatch(mount["Name"])
    ] == []

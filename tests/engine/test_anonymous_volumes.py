"""No anonymous volumes: an image's VOLUME creates one per container, which Pulumi doesn't remove with the container.

`test_secrets.py` checks it for the containers of the dev stack.
"""

from __future__ import annotations

from tests.engine import docker_engine
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import PulumiStack


def test_no_container_of_the_stores_has_an_anonymous_volume(stores_stack: PulumiStack) -> None:
    images = {one["Image"] for one in docker_engine.containers(stores_stack.name)}
    declared = docker("image", "inspect", "--format", "{{json .Config.Volumes}}", *images)
    assert "/var/lib/postgresql" in declared, "an image that declares a volume is among them"
    assert docker_engine.anonymous_volumes(stores_stack.name) == []

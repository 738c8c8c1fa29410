"""Prerequisites of these tests on a machine, and how to install them."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess

from operations.bootstrap import PULUMI_VERSION
from operations.project import ROOT, environment
from settings.stores.kafka import KafkaSettings
from settings.stores.postgres import PostgresSettings
from settings.stores.redis import RedisSettings
from settings.tools import DevToolsSettings

BUILD = "python -m testbed.images.build"


@functools.cache
def lacking() -> str | None:
    """Return why the tests can't run here, with the remedy, or None if they can."""
    for command, remedy in {"pulumi": "make setup installs it", "docker": "install Docker and start it"}.items():
        if shutil.which(command, path=environment()["PATH"]) is None:
            return f"the '{command}' command is missing: {remedy}"
    wanted = [line for line in (ROOT / "requirements.in").read_text().splitlines() if line.startswith("pulumi-")]
    present = {
        (one["name"], one.get("version")) for one in json.loads(_answer("pulumi", "plugin", "ls", "--json") or "[]")
    }
    for requirement in wanted:
        name, _, version = requirement.removeprefix("pulumi-").partition("==")
        if (name, version) not in present:
            return f"the Pulumi plugin {name} {version} is missing: make setup installs it (Pulumi {PULUMI_VERSION})"
    if _answer("docker", "version", "--format", "{{.Server.Version}}") is None:
        return "no Docker engine answers: start dockerd"
    for image in images():
        if _answer("docker", "image", "inspect", image) is None:
            return f"the image {image} is missing: docker pull {image}, or {BUILD}"
    return None


def images() -> list[str]:
    """Return every image that the stacks of these tests run."""
    tools, zookeeper, kraft = DevToolsSettings(), KafkaSettings(), KafkaSettings(mode="kraft")
    return [
        PostgresSettings().image,
        RedisSettings().image,
        zookeeper.broker_image,
        zookeeper.zookeeper.image,
        kraft.broker_image,
        tools.pg_admin.image,
        tools.kafka_ui.image,
        tools.redis_commander.image,
    ]


def _answer(*command: str) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    return None if done.returncode else done.stdout

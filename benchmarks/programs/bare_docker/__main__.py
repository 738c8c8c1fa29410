"""The smallest Pulumi program that registers given resources: it reads a file and registers its content."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pulumi
import pulumi_docker as docker

provider = docker.Provider("docker", disable_docker_daemon_check=True)
for resource in json.loads(Path(pulumi.Config().require("resources")).read_text()):
    is_docker = resource["type"].startswith("docker:")
    pulumi.CustomResource(
        resource["type"],
        resource["name"],
        resource["inputs"],
        pulumi.ResourceOptions(provider=provider)
        if is_docker
        else pulumi.ResourceOptions(version=version("pulumi-random")),
    )

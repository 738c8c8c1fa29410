"""Calls of the Docker client that build and test images."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

OFFICIAL_PREFIX = "official"
"""Placeholder for the fingerprint of an image that this project didn't build."""


def print_progress(subject: str, text: str) -> None:
    """Print one line of progress, unbroken even if several images are built in parallel."""
    print(f"[{subject}] {text}\n", end="", flush=True)


def docker(*arguments: str, log: Path | None = None) -> str:
    """Run the Docker client and return its output; the error of a failed command contains the last lines.

    Use the classic builder, because Debian's engine has no BuildKit client.
    """
    done = subprocess.run(
        ["docker", *arguments],
        env={"DOCKER_BUILDKIT": "0", **os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stdout)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        raise RuntimeError(f"docker {arguments[0]} failed{f' (all of it: {log})' if log else ''}:\n{tail}")
    return done.stdout


def present(tags: Sequence[str]) -> dict[str, str]:
    """Map the tags that the engine has to fingerprints.

    An image with one of the tags but without the label is the official one, pulled from a registry: `OFFICIAL_PREFIX`.
    """
    template = '{{join .RepoTags " "}}|{{index .Config.Labels "pti.recipe"}}'
    if shutil.which("docker") is None:
        raise RuntimeError("Docker isn't installed: apt-get install docker.io, start dockerd, and try again")
    command = ["docker", "image", "inspect", "--format", template, *tags]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if not listed.stdout and "No such image" not in listed.stderr:
        raise RuntimeError(f"The Docker engine does not answer. Start it and try again:\n{listed.stderr}")
    found = {}
    for line in listed.stdout.splitlines():
        names, _, label = line.partition("|")
        for name in names.split():
            found[name] = label.replace("<no value>", "") or OFFICIAL_PREFIX
    return found

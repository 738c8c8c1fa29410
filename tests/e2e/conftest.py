"""The real machine, from the first command on; skipped where it lacks something."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.engine.machine import lacking


@pytest.fixture(scope="session", autouse=True)
def _machine() -> None:
    if reason := lacking():
        pytest.skip(reason)
    for command in ("make", "git"):
        if shutil.which(command) is None:
            pytest.skip(f"the '{command}' command is not here")


@pytest.fixture(scope="session")
def compose() -> str:
    """The version of Docker Compose."""
    # 2.23.1 is the first with the content of a configuration in the file itself.
    asked = subprocess.run(["docker", "compose", "version", "--short"], capture_output=True, text=True)
    version = asked.stdout.strip().removeprefix("v")
    if asked.returncode or tuple(map(int, version.split("-")[0].split("."))) < (2, 23, 1):
        pytest.skip(f"Docker Compose 2.23.1 or newer is not here: {version or asked.stderr.strip()}")
    return version

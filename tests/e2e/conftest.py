"""Setup of a real machine from the first command; the tests are skipped if the machine lacks a prerequisite."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.e2e.clone import Clone
from tests.engine.machine import lacking
from tests.engine.restarts import pytest_runtest_teardown as pytest_runtest_teardown


@pytest.fixture(scope="session", autouse=True)
def _machine() -> None:
    if reason := lacking():
        pytest.skip(reason)
    for command in ("make", "git"):
        if shutil.which(command) is None:
            pytest.skip(f"the '{command}' command is missing")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A fresh clone in which only `pulumi install` ran."""
    made = Clone(tmp_path_factory.mktemp("machine"))
    print(f"pulumi install: {made.run('pulumi', 'install').succeeded().seconds:.0f} s")
    return made


@pytest.fixture(scope="session")
def compose() -> str:
    """Return the version of Docker Compose."""
    # 2.23.1 is the first version that supports inline content in configs.
    completed = subprocess.run(["docker", "compose", "version", "--short"], capture_output=True, text=True)
    version = completed.stdout.strip().removeprefix("v")
    if completed.returncode or tuple(map(int, version.split("-")[0].split("."))) < (2, 23, 1):
        pytest.skip(f"Docker Compose 2.23.1 or newer is missing: {version or completed.stderr.strip()}")
    return version

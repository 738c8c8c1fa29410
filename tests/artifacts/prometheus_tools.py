"""promtool and amtool: from the PATH, or built into the cache directory by `.ci/provide`."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from testbed import cache

CACHE = cache.CACHE / "bin"


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the program until it ends; skip the test if it isn't installed."""
    found = shutil.which(program) or shutil.which(program, path=str(CACHE))
    if found is None:
        pytest.skip(f"{program} is missing: .ci/provide builds it")
    # With Go's default of 100, a quarter of promtool's CPU time is spent on garbage collections.
    environment = os.environ | {"GOGC": "400"}
    return subprocess.run(
        [found, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False, timeout=600
    )


def assert_accepted(program: str, *arguments: object) -> None:
    """Fail with the program's output if it doesn't accept the files."""
    outcome = run(program, *arguments)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr

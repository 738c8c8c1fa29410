"""promtool and amtool: from the PATH, or built into the cache directory by `.ci/provide`."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from testbed import cache

CACHE = cache.CACHE / "bin"


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end; skips the test where there is none."""
    found = shutil.which(program) or shutil.which(program, path=str(CACHE))
    if found is None:
        pytest.skip(f"{program} is not here: .ci/provide builds it")
    return subprocess.run([found, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=600)


def accepts(program: str, *arguments: object) -> None:
    """Fails with what the program says when it doesn't accept the files."""
    outcome = run(program, *arguments)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr

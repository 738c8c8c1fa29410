"""The last release: its commit, in `commit`, and the inventories of its stacks, as its tests/unit/golden had them.

After a release, `commit` gets its commit and the inventories are copied anew.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from operations.project import ROOT

FOLDER = Path(__file__).parent
COMMIT = (FOLDER / "commit").read_text().strip()


def addresses(shape: str) -> list[str]:
    """The addresses (`backends.addresses`) of all resources of a stack."""
    found: list[str] = []
    above: list[str] = []
    for line in (FOLDER / f"{shape}.txt").read_text().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        type_, name = line.split()[:2]
        above[depth:] = [type_]
        found.append(f"{'$'.join(above)}::{name}")
    return found


def clone(folder: Path) -> Path:
    """The release's program in that folder, from this repository's own history; skipped where that is cut off."""
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(folder)], check=True)
    found = subprocess.run(["git", "checkout", "--quiet", COMMIT], cwd=folder, capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"the last release isn't in this clone's history: git fetch --unshallow ({found.stderr.strip()})")
    # It runs with the present SDKs: an update doesn't come with two sets of them.
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder

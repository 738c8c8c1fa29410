"""The last release: its commit, in `commit`, and the inventories of its stacks, copied from its tests/unit/golden.

After a release, update `commit` and copy the inventories again.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from operations.project import ROOT
from settings.renamed import RENAMED, RenamedKey

FOLDER = Path(__file__).parent
COMMIT = (FOLDER / "commit").read_text().strip()


def addresses(shape: str) -> list[str]:
    """Return the addresses (`backends.addresses`) of all resources of a stack."""
    found: list[str] = []
    above: list[str] = []
    for line in (FOLDER / f"{shape}.txt").read_text().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        type_, name = line.split()[:2]
        above[depth:] = [type_]
        found.append(f"{'$'.join(above)}::{name}")
    return found


def renamed_since() -> list[RenamedKey]:
    """Return the rows of keys that were renamed after the release; it already uses the new keys of the other rows."""
    shown = subprocess.run(
        ["git", "show", f"{COMMIT}:settings/renamed.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [row for row in RENAMED if f'"{row.old}", "{row.new}"' not in shown.stdout]


def clone(folder: Path) -> Path:
    """Clone the release's program into a folder from this repository's own history; skip the test in a shallow
    clone."""
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(folder)], check=True)
    found = subprocess.run(["git", "checkout", "--quiet", COMMIT], cwd=folder, capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"the last release isn't in this clone's history: git fetch --unshallow ({found.stderr.strip()})")
    # The release runs with the current SDKs, because an update uses one set of SDKs.
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder

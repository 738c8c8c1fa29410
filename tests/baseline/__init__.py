"""The last release: its commit, in `commit`, and the inventories of its stacks, as its tests/unit/golden had them.

After a release, `commit` gets its commit and the inventories are copied anew.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

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
    """A clone of the release's program in that folder, from this repository's own history."""
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(FOLDER.parents[1]), str(folder)], check=True)
    subprocess.run(["git", "checkout", "--quiet", COMMIT], cwd=folder, check=True)
    return folder

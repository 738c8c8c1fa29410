"""Compares what two commits render: `compare_renders.py OLD [NEW]`; NEW is HEAD by default.

It checks out each commit into a temporary worktree, and renders the stack dev, the whole platform on Docker, and the
stack prod there. It prints a diff and returns 1 if they differ.
"""

from __future__ import annotations

import argparse
import difflib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STACKS = ("dev", "full-docker", "prod")
FULL_DOCKER = """\
config:
  pti-calendar:credentials: well-known
  pti-calendar:services: {deploy: all, migrationCommand: [npm, run, migrate]}
  pti-calendar:frontends: {deploy: all}
  pti-calendar:gateway: {enabled: true}
  pti-calendar:monitoring: {enabled: true}
  pti-calendar:devTools: {enabled: true}
"""
"""The whole platform on Docker. Both commits must know its keys."""


def main(old: str, new: str) -> int:
    """Print the differences. Return 1 if there are any, otherwise 0."""
    with tempfile.TemporaryDirectory(prefix="pti-calendar-renders-") as folder:
        before, after = (_rendered(commit, Path(folder) / side) for side, commit in (("old", old), ("new", new)))
        found = [*differences(before, after)]
    print("\n".join(found) if found else f"{old} and {new} render the same: {', '.join(STACKS)}")
    return 1 if found else 0


def differences(before: Path, after: Path) -> Iterator[str]:
    """Yield the lines of a diff between the files of two folders, at any depth."""
    names = {path.relative_to(side) for side in (before, after) for path in side.rglob("*") if path.is_file()}
    for name in sorted(names):
        old, new = (_lines(side / name) for side in (before, after))
        yield from difflib.unified_diff(old or [], new or [], _label(old, name), _label(new, name), lineterm="", n=2)


def _lines(path: Path) -> list[str] | None:
    return path.read_text().split("\n") if path.is_file() else None


def _label(lines: list[str] | None, name: Path) -> str:
    return "/dev/null" if lines is None else str(name)


def _rendered(commit: str, worktree: Path) -> Path:
    """Check out a commit, and return the folder with its rendered stacks."""
    _run(["git", "worktree", "add", "--quiet", "--detach", str(worktree), commit], ROOT)
    try:
        (worktree / "Pulumi.full-docker.yaml").write_text(FULL_DOCKER)
        for stack in STACKS:
            _run([sys.executable, "-m", "operations", "render", "--stack", stack], worktree)
        return (worktree / "rendered").rename(worktree.with_name(f"{worktree.name}-rendered"))
    finally:
        _run(["git", "worktree", "remove", "--force", str(worktree)], ROOT)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - git or this Python


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old")
    parser.add_argument("new", nargs="?", default="HEAD")
    arguments = parser.parse_args()
    sys.exit(main(arguments.old, arguments.new))

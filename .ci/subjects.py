"""Checks that no commit subject is longer than 72 characters: `subjects.py [FOLDER]`.

It covers the commits since `SINCE` by author date, which a rebase doesn't change. It therefore also works in a shallow
clone, for the commits that the clone has. Without git, or outside a checkout, there is nothing to check.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

LIMIT = 72
SINCE = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)


def main(folder: Path) -> int:
    """Print the subjects that are too long. Return the exit code."""
    if shutil.which("git") is None:
        print("Commit subjects not checked: there is no git command.")
        return 0
    # `safe.directory` lets git read a checkout that another user owns.
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), "log", "--format=%at %h %s"]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - git, without a shell
    if "not a git repository" in done.stderr:
        print(f"Commit subjects not checked: {folder} is not a git checkout.")
        return 0
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return 1
    for commit in (found := too_long(done.stdout.splitlines())):
        print(f"Commit subject longer than {LIMIT} characters: {commit}")
    return 1 if found else 0


def too_long(log: Iterable[str]) -> list[str]:
    """Return the commits whose subject is too long, from lines of author time, hash and subject."""
    commits = (line.split(" ", 2) for line in log)
    return [
        f"{commit} {subject}"
        for written, commit, subject in commits
        if int(written) >= SINCE.timestamp() and len(subject) > LIMIT
    ]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else Path()))

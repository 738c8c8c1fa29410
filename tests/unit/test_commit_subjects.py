"""The check of commit subjects that `make lint` runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.paths import ROOT

BEFORE, SINCE = "2026-11-27T12:00:00Z", "2026-11-28T12:00:00Z"
LONGEST = "a" * 72


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci/subjects.py"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def git(folder: Path, *arguments: str, date: str = SINCE) -> None:
    author = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_AUTHOR_DATE": date}
    committer = {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com"}
    environment = os.environ | author | committer | {"GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", f"old {LONGEST}", date=BEFORE)
    git(folder, "commit", "--quiet", "--allow-empty", "--message", LONGEST)
    return folder


def test_subjects_of_72_characters_and_older_ones_pass(checkout: Path) -> None:
    done = check(checkout)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("depth", [None, 1], ids=["full clone", "shallow clone"])
def test_a_longer_subject_fails_and_is_printed(checkout: Path, tmp_path: Path, depth: int | None) -> None:
    git(checkout, "commit", "--quiet", "--allow-empty", "--message", f"{LONGEST}b\n\nbody")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", *([f"--depth={depth}"] if depth else []), f"file://{checkout}", str(clone))
    done = check(clone)
    assert done.returncode == 1
    assert f"{LONGEST}b" in done.stdout
    assert done.stdout.count("\n") == 1


def test_outside_a_checkout_nothing_is_checked(tmp_path: Path) -> None:
    done = check(tmp_path)
    assert done.returncode == 0
    assert "is not a git checkout" in done.stdout

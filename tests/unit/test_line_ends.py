"""A checkout has the same bytes on every machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.full_run import only_in_full_runs
from tests.unit.paths import ROOT


def git(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True).stdout


@pytest.fixture
def windows_checkout(tmp_path: Path) -> Path:
    """A checkout by a Git that converts line ends, as Git for Windows does by default."""
    if subprocess.run(["git", "rev-parse", "--git-dir"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("this copy of the project isn't a Git repository")
    files = [name for name in git(ROOT, "ls-files", "-z").decode().split("\0") if name and (ROOT / name).is_file()]
    source = tmp_path / "source"
    git(tmp_path, "init", "--quiet", str(source))
    git(source, "--work-tree", str(ROOT), "add", "--", *files)
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    git(source, *author, "commit", "--quiet", "--message", "Copy the files")
    checkout = tmp_path / "checkout"
    git(tmp_path, "-c", "core.autocrlf=true", "clone", "--quiet", str(source), str(checkout))
    return checkout


@only_in_full_runs
def test_line_ends_are_not_converted(windows_checkout: Path) -> None:
    listed = git(windows_checkout, "ls-files", "--eol").decode().splitlines()
    assert len(listed) > 100
    assert [line for line in listed if "crlf" in line or "mixed" in line] == []

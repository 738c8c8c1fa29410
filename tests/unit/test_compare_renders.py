"""The comparison of what two commits render, with a small program in place of the real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.full_run import only_in_full_runs
from tests.unit.paths import ROOT
from tests.unit.test_commit_subjects import git

pytestmark = only_in_full_runs

PROGRAM = """
import sys
from pathlib import Path

folder = Path("rendered") / sys.argv[-1]
folder.mkdir(parents=True)
configured = Path(f"Pulumi.{sys.argv[-1]}.yaml").read_text()
(folder / "compose.yaml").write_text(f"image: {IMAGE}\\ngateway: {'gateway' in configured}\\n")
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose last commit changes an image in every stack, and adds a file to one."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/compare_renders.py", tmp_path / ".ci")
    (tmp_path / "operations").mkdir()
    program = tmp_path / "operations/__main__.py"
    git(tmp_path, "init", "--quiet")
    for stack in ("dev", "prod"):
        (tmp_path / f"Pulumi.{stack}.yaml").touch()
    for change in ("IMAGE = 1", "IMAGE = 1  # the same", "IMAGE = 2"):
        program.write_text(f"{change}\n{PROGRAM}")
        if change == "IMAGE = 2":
            program.write_text(
                f"{program.read_text()}if folder.name == 'prod': (folder / 'new.yaml').write_text('new')"
            )
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "--message", change)
    return tmp_path


def compare(repository: Path, *commits: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull}
    command = [sys.executable, str(repository / ".ci/compare_renders.py"), *commits]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_changed_and_added_files_are_listed(repository: Path) -> None:
    done = compare(repository, "HEAD~1")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    changed = [f"{stack}/compose.yaml" for stack in ("dev", "full-docker", "prod")]
    assert [line for line in lines if line.startswith("+++ ")] == [
        f"+++ {name}" for name in (*changed, "prod/new.yaml")
    ]
    assert [line for line in lines if line.startswith("--- ")] == [
        *(f"--- {name}" for name in changed),
        "--- /dev/null",
    ]
    assert lines.count("-image: 1") == lines.count("+image: 2") == len(changed)
    assert " gateway: True" in lines


def test_commits_that_render_the_same_have_no_differences(repository: Path) -> None:
    done = compare(repository, "HEAD~2", "HEAD~1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "HEAD~2 and HEAD~1 render the same: dev, full-docker, prod\n"


def test_the_worktrees_are_removed_even_if_a_commit_cannot_be_rendered(repository: Path) -> None:
    (repository / "operations/__main__.py").write_text("raise SystemExit('broken')")
    git(repository, "commit", "--all", "--message", "broken")
    done = compare(repository, "HEAD~1")
    assert done.returncode != 0
    assert "broken" in done.stderr
    listed = subprocess.run(["git", "worktree", "list"], cwd=repository, capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 1

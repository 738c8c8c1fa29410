"""A copy of the project with an engineer's edits, and what the program does in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.paths import ROOT
from tests.unit.test_structure import OWN_PACKAGES

COPIED_PATHS = sorted({"assets", "docs", *OWN_PACKAGES} - {"__main__", "tests"})


def edited_copy(copy: Path, edits: Mapping[str, Mapping[str, str]]) -> Path:
    """Copy the project into an empty folder and edit it.

    Args:
        edits: maps each file to the inserted texts and the lines that they precede; a new file has its text under "".
    """
    for folder in (*COPIED_PATHS, "tests/unit"):
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "golden"))
    for file in (*(f"{name}.py" for name in COPIED_PATHS), "tests/__init__.py", "Pulumi.yaml", "Pulumi.dev.yaml"):
        if (ROOT / file).is_file():
            shutil.copy(ROOT / file, copy / file)
    for name, insertions in edits.items():
        target = copy / name
        text = target.read_text() if target.exists() else ""
        for before, inserted in insertions.items():
            assert text.count(before) == 1 or not text, f"{name}: {before!r}"
            text = text.replace(before, inserted + before) if before else inserted
        target.write_text(text)
    return copy


def changed_files(copy: Path) -> list[str]:
    """Return the files of the program that differ from the project's."""
    return [
        str(path.relative_to(copy))
        for folder in COPIED_PATHS
        for path in sorted((copy / folder).rglob("*"))
        if path.is_file()
        and (not (here := ROOT / path.relative_to(copy)).exists() or here.read_bytes() != path.read_bytes())
    ]


def run_program(copy: Path, program: str) -> dict[str, Any]:
    """Run Python code in the copy and return the JSON that it prints."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=copy, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    read: dict[str, Any] = json.loads(ran.stdout)
    return read

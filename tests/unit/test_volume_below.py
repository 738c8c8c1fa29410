"""The script that stores data in a folder below the volume's mount point, whatever the volume contains."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.unit.paths import ROOT

SCRIPT = ROOT / "assets/volume/below.sh"


def run(mount: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", SCRIPT, mount, "data", *command], capture_output=True, text=True)


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_is_created_and_the_command_gets_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    done = run(tmp_path, "printf", "%s|", "one two", "three")
    assert (done.returncode, done.stdout) == (0, "one two|three|")
    assert {path.name for path in tmp_path.iterdir()} == {"lost+found", "data"}


def test_only_data_in_the_root_is_moved(tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    (tmp_path / "wal" / "0001").write_text("samples")
    (tmp_path / ".hidden").write_text("hidden")
    (tmp_path / "with a space").write_text("space")
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".pti-calendar-data").write_text("marker")
    assert run(tmp_path, "true").returncode == 0
    assert files(tmp_path / "data") == {"wal/0001": "samples", ".hidden": "hidden", "with a space": "space"}
    assert {path.name for path in tmp_path.iterdir()} == {"lost+found", ".pti-calendar-data", "data"}


def test_an_interrupted_move_continues_and_a_second_start_moves_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "first").write_text("moved before the kill")
    (tmp_path / "second").write_text("not yet")
    assert "moved" in run(tmp_path, "true").stdout
    assert files(tmp_path / "data") == {"first": "moved before the kill", "second": "not yet"}
    assert run(tmp_path, "true").stdout == ""


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "wal").write_text("new")
    (tmp_path / "wal").write_text("old")
    done = run(tmp_path, "echo", "started")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tmp_path}/wal and {tmp_path}/data/wal both exist" in done.stderr
    assert files(tmp_path) == {"wal": "old", "data/wal": "new"}


def test_the_command_replaces_the_shell_and_receives_signals(tmp_path: Path) -> None:
    command = ["sh", str(SCRIPT), str(tmp_path), "data", "sh", "-c", "echo $$"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=60)
    assert output == f"{process.pid}\n"

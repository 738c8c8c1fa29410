"""The file systems that stand in for a cloud's block volumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import ext4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the mount point."""
    if reason := ext4.why_unavailable():
        pytest.skip(reason)
    return tmp_path / "mounted"


def test_a_new_file_system_has_lost_and_found_and_belongs_to_root(tmp_path: Path, folder: Path) -> None:
    ext4.mount(tmp_path / "image", folder, 64)
    try:
        assert [one.name for one in folder.iterdir()] == ["lost+found"]
        assert (folder.stat().st_uid, folder.stat().st_mode & 0o7777) == (0, 0o755)
    finally:
        ext4.unmount(folder)


def test_files_survive_a_remount(tmp_path: Path, folder: Path) -> None:
    for expected in (set(), {"kept"}):
        ext4.mount(tmp_path / "image", folder, 64)
        try:
            assert {one.name for one in folder.iterdir()} == {"lost+found", *expected}
            (folder / "kept").touch()
        finally:
            ext4.unmount(folder)

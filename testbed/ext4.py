"""Freshly made ext4 file systems, each in a sparse file, as a cloud's block volumes are handed to a store.

A new one holds `lost+found`, belongs to root, and may be written by root alone: what a folder of the machine hides.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.engine.waiting import until

PROGRAMS = ("mkfs.ext4", "losetup", "mount", "umount")
MIB = 1024 * 1024


def obstacle() -> str | None:
    """Return why no file system can be created and mounted here, with the fix; None if one can."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    if lacking := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"not installed: {', '.join(lacking)} (packages e2fsprogs, mount)"
    if subprocess.run(["losetup", "--find"], capture_output=True).returncode:
        return "no loop device is free: modprobe loop"
    return None


def mount(image: Path, folder: Path, size_mib: int) -> None:
    """Mount the file system of an image at a folder; an image that isn't there yet is made, and is empty."""
    if not image.exists():
        _make(image, size_mib)
    folder.mkdir(parents=True, exist_ok=True)
    # The loop device goes with the mount.
    _run("mount", "-o", "loop", str(image), str(folder))


def unmount(folder: Path) -> None:
    """The image keeps its files."""
    _run("umount", str(folder))


def grow(image: Path, size_mib: int) -> None:
    """Make the file system of an image larger, which isn't mounted."""
    # A container that starts meanwhile copies the machine's mounts for a moment. Until it has let go, the device stays,
    # and a new mount would get the file system as it was.
    until("the loop device is free", lambda: not _run("losetup", "--associated", str(image)))
    with image.open("r+b") as file:
        file.truncate(size_mib * MIB)
    # 1 says that something small has been mended, which resize2fs asks for.
    _run("e2fsck", "-f", "-p", str(image), accepted=(0, 1))
    _run("resize2fs", str(image))


def _make(image: Path, size_mib: int) -> None:
    image.parent.mkdir(parents=True, exist_ok=True)
    partial = image.with_name(f"{image.name}.partial")
    with partial.open("wb") as file:
        file.truncate(size_mib * MIB)
    # As Kubernetes makes them (k8s.io/mount-utils: no blocks kept for root); the journal takes room once it is used.
    _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_journal_init=1", str(partial))
    partial.rename(image)


def _run(*command: str, accepted: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in accepted:
        raise RuntimeError(f"{' '.join(command)} failed ({done.returncode}): {done.stderr.strip()}")
    return done.stdout

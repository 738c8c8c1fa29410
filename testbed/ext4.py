"""New ext4 file systems, each in a sparse file, like block volumes of a cloud.

A new one contains `lost+found`, belongs to root and is writable by root only: a plain directory has none of these
properties.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.engine.waiting import until

PROGRAMS = ("mkfs.ext4", "losetup", "mount", "umount")
MIB = 1024 * 1024


def why_unavailable() -> str | None:
    """Return why no file system can be created and mounted here, with the fix; None if one can."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    if lacking := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"not installed: {', '.join(lacking)} (packages e2fsprogs, mount)"
    if subprocess.run(["losetup", "--find"], capture_output=True).returncode:
        return "no loop device is free: modprobe loop"
    return None


def mount(image: Path, folder: Path, size_mib: int) -> None:
    """Mount the file system of an image at a folder; a missing image is created and empty."""
    if not image.exists():
        _make(image, size_mib)
    folder.mkdir(parents=True, exist_ok=True)
    # Unmounting also frees the loop device.
    _run("mount", "-o", "loop", str(image), str(folder))


def unmount(folder: Path) -> None:
    """Unmount; the image keeps its files."""
    _run("umount", str(folder))


def grow(image: Path, size_mib: int) -> None:
    """Enlarge the file system of an unmounted image."""
    # A container that starts meanwhile copies the machine's mounts for a moment. Until it releases them, the loop
    # device stays, and a new mount would get the file system in its old size.
    until("the loop device is free", lambda: not _run("losetup", "--associated", str(image)))
    with image.open("r+b") as file:
        file.truncate(size_mib * MIB)
    # Exit status 1 means that minor errors were corrected, which resize2fs requires.
    _run("e2fsck", "-f", "-p", str(image), accepted=(0, 1))
    _run("resize2fs", str(image))


def _make(image: Path, size_mib: int) -> None:
    image.parent.mkdir(parents=True, exist_ok=True)
    partial = image.with_name(f"{image.name}.partial")
    with partial.open("wb") as file:
        file.truncate(size_mib * MIB)
    # These are the options that Kubernetes uses (k8s.io/mount-utils: no blocks reserved for root). The journal only
    # takes space once it is used.
    _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_journal_init=1", str(partial))
    partial.rename(image)


def _run(*command: str, accepted: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in accepted:
        raise RuntimeError(f"{' '.join(command)} failed ({done.returncode}): {done.stderr.strip()}")
    return done.stdout

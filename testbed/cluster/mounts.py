"""Removes what killed pods leave behind: mounts, control groups, a few files outside the root."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from testbed.cluster.configuration import POD_NETWORK
from testbed.cluster.constants import ROOT
from testbed.cluster.processes import succeeds


def mount_points_below(root: Path) -> list[Path]:
    """Return the mount points in the folder, innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    # Spaces are written as \040; the cluster's paths have none.
    points = [Path(line.split()[4]) for line in lines]
    return [point for point in reversed(points) if root in point.parents]


def unmount_all() -> None:
    """Unmount everything below the root."""
    for point in mount_points_below(ROOT):
        if not succeeds("umount", point):
            succeeds("umount", "--lazy", point)


def remove_leftovers() -> None:
    """Remove the pods' control groups, which are empty by now, and files that the kubelet and the network plugins need
    in other places."""
    for log in Path("/var/log/containers").glob("*.log"):
        if log.is_symlink() and ROOT in log.readlink().parents:
            log.unlink()
    for result in Path("/var/lib/cni/results").glob(f"{POD_NETWORK}-*"):
        result.unlink(missing_ok=True)
    for top in (*Path("/sys/fs/cgroup").glob("kubepods"), *Path("/sys/fs/cgroup").glob("*/kubepods")):
        if top.parent.is_symlink():
            continue
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()

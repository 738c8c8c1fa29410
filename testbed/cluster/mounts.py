"""What pods leave behind when they are ended at once: mounts, control groups, a few names outside the root."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from testbed.cluster.configuration import POD_NETWORK
from testbed.cluster.places import ROOT
from testbed.cluster.processes import succeeds


def below(root: Path) -> list[Path]:
    """Mount points in the folder, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    # Blanks are written as \040; the cluster's paths have none.
    points = [Path(line.split()[4]) for line in lines]
    return [point for point in reversed(points) if root in point.parents]


def release() -> None:
    """Unmount everything below the root."""
    for point in below(ROOT):
        if not succeeds("umount", point):
            succeeds("umount", "--lazy", point)


def remove_left_overs() -> None:
    """The pods' control groups, empty by now, and what the kubelet and the network plugins insist on elsewhere."""
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

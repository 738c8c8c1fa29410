"""Volumes of a Docker engine that are ext4 file systems of their own, as a cluster gives block storage to its pods."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed import ext4
from tests.engine.docker_engine import DATA_LABEL, STACK_LABEL, WORKLOAD_LABEL, docker

SIZE_MIB = 4096


@dataclass(frozen=True)
class Owner:
    """Whose volume it is."""

    workload: str
    group: int
    """What Kubernetes calls `fsGroup`."""


@contextmanager
def ext4_volumes(stack: str, volumes: Mapping[str, Owner], folder: Path) -> Iterator[None]:
    """New volumes of a stack that isn't up yet; its first `up` finds them, as it finds those of a stack before.

    At the end they hold plain folders again, ready to be removed. Containers that still run keep what they see.

    Args:
        stack: the stack's name.
        volumes: name without the stack to its owner.
        folder: where the file systems' images go.
    """
    with ExitStack() as mounted:
        for name, owner in volumes.items():
            full = f"{name}-{stack}"
            labels = {STACK_LABEL: stack, WORKLOAD_LABEL: owner.workload, DATA_LABEL: "persistent"}
            docker("volume", "create", *(f"--label={label}={value}" for label, value in labels.items()), full)
            # Without options of its driver: the engine shows them, and Pulumi would find a difference.
            place = Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", full).strip())
            image = folder / f"{full}.ext4"
            ext4.mount(image, place, SIZE_MIB)
            mounted.callback(image.unlink)
            mounted.callback(ext4.unmount, place)
            # As the kubelet does for a pod with `fsGroup` (pkg/volume/volume_linux.go).
            for path in (place, place / "lost+found"):
                os.chown(path, 0, owner.group)
                path.chmod(path.stat().st_mode | 0o2070)
        yield

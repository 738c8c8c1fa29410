"""Docker volumes that are separate ext4 file systems, like block storage in a cluster."""

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
    """The owner of a volume."""

    workload: str
    group: int
    """Kubernetes calls it `fsGroup`."""


@contextmanager
def ext4_volumes(stack: str, volumes: Mapping[str, Owner], folder: Path) -> Iterator[None]:
    """Create volumes for a stack that isn't up yet; its first `up` adopts them like volumes kept from an earlier stack.

    At the end they contain plain folders again and can be removed. Running containers still see the old content.

    Args:
        stack: the stack's name.
        volumes: owners by volume name without the stack.
        folder: where to put the file systems' images.
    """
    with ExitStack() as mounted:
        for name, owner in volumes.items():
            full = f"{name}-{stack}"
            labels = {STACK_LABEL: stack, WORKLOAD_LABEL: owner.workload, DATA_LABEL: "persistent"}
            docker("volume", "create", *(f"--label={label}={value}" for label, value in labels.items()), full)
            # Set no driver options: the engine would report them, and Pulumi would treat them as a difference.
            place = Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", full).strip())
            image = folder / f"{full}.ext4"
            ext4.mount(image, place, SIZE_MIB)
            mounted.callback(image.unlink)
            mounted.callback(ext4.unmount, place)
            # Set owner and mode like the kubelet for a pod with `fsGroup` (pkg/volume/volume_linux.go).
            for path in (place, place / "lost+found"):
                os.chown(path, 0, owner.group)
                path.chmod(path.stat().st_mode | 0o2070)
        yield

"""Checks how full the disks below the persistent volumes are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from operations.doctor.context import Context
from operations.doctor.finding import Finding, Instance, unchecked
from operations.project import OperationError

ERROR_PERCENT = 95
THREADS = 4

Volume = tuple[Instance, str, str]
"""An instance, the name of its volume, and the path."""


def full_disks(context: Context) -> Iterator[Finding]:
    """Yield a finding for each disk that is fuller than the limit of the alert. Volumes on one disk share a finding."""
    volumes: dict[str, Volume] = {name: (one, name, path) for one in context.instances() for name, path in one.volumes}
    by_disk: dict[tuple[str, ...], tuple[int, int, list[str]]] = {}
    with ThreadPoolExecutor(THREADS) as threads:
        results = {name: threads.submit(_usage, context, volume) for name, volume in volumes.items()}
    for name, result in sorted(results.items()):
        try:
            disk, percent, free_mib = result.result()
        except OperationError as error:
            workload = volumes[name][0].workload
            fix = f"make logs STACK={context.stack} SERVICE={workload}"
            yield unchecked(f"disk of {name}", error, fix, effect_of=workload)
            continue
        by_disk.setdefault(disk, (percent, free_mib, []))[2].append(name)
    for percent, free_mib, names in by_disk.values():
        if percent >= min(ERROR_PERCENT, context.settings.monitoring.thresholds.disk_percent):
            yield Finding(
                "error" if percent >= ERROR_PERCENT else "warning",
                f"disk of {', '.join(names)}",
                f"The disk is {percent} % full; {free_mib} MiB are free. Stores stop or refuse writes on a full disk.",
                "Free space (Docker: docker system df; docker image prune), or enlarge the disk or the claim: "
                "docs/runbook.md#a-volume-is-too-small",
            )


def _usage(context: Context, volume: Volume) -> tuple[tuple[str, ...], int, int]:
    """Return the identity of a volume's disk, its use in percent, and the free MiB."""
    instance, _, path = volume
    shown = context.runtime.execute(context.stack, instance, ["df", "-Pk", path])
    # The device's name may contain blanks (a network share).
    found = re.search(r"^(.+?)\s+(\d+)\s+(\d+)\s+(\d+)\s+\d+%\s", shown, re.MULTILINE)
    if not found:
        raise OperationError(f"unexpected output of df in {instance.name}")
    device, total, used, free = found.groups()
    return (device, total), _percent(int(used), int(free)), int(free) // 1024


def _percent(used: int, free: int) -> int:
    """Return the use as `df` does: blocks that are reserved for root count neither as used nor as free."""
    return -(-100 * used // max(1, used + free))

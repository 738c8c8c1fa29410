"""How the figures are taken and shown: in turns, median and least, with the machine they are from."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence


def machine() -> str:
    """The machine in one line; other work on it shows as load."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()} {platform.release()}, load {load}"


def timed(action: Callable[[], object]) -> float:
    """Seconds that the action takes."""
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def cpu_s() -> float:
    """Seconds of the processor that the ended processes below this one took; other work changes them less."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show(name: str, seconds: Sequence[float]) -> None:
    """One row: every repetition, the median, the least."""
    each = " ".join(f"{one:.1f}" for one in seconds)
    print(f"{name:38}median {statistics.median(seconds):6.1f} s   least {min(seconds):6.1f} s   ({each})")


def show_ratio(ours: Sequence[float], floor: Sequence[float]) -> None:
    """How many times the floor it is."""
    print(
        f"{'ratio':38}median {statistics.median(ours) / statistics.median(floor):6.2f}     "
        f"least {min(ours) / min(floor):6.2f}"
    )

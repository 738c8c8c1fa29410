"""How results are measured and shown: in alternation, as median and minimum, with the machine's details."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence


def machine() -> str:
    """Return the machine in one line, including its load."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()} {platform.release()}, load {load}"


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that the action takes."""
    started = time.monotonic()
    action()
    return time.monotonic() - started


def cpu_s() -> float:
    """Return the CPU time of the ended child processes, which depends less on other work."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show(name: str, seconds: Sequence[float]) -> None:
    """Print one row: every repetition, the median, the minimum."""
    each = " ".join(f"{one:.1f}" for one in seconds)
    print(f"{name:38}median {statistics.median(seconds):6.1f} s   min {min(seconds):6.1f} s   ({each})")


def show_ratio(measured: Sequence[float], baseline: Sequence[float]) -> None:
    """Print the ratio to the baseline."""
    print(
        f"{'ratio':38}median {statistics.median(measured) / statistics.median(baseline):6.2f}     "
        f"min {min(measured) / min(baseline):6.2f}"
    )

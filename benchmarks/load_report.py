"""The tables of `benchmarks.load`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.e2e.bookings import Comparison
from tests.e2e.load import Sample

SHOWN_FAILURES = 6


@dataclass(frozen=True)
class Window:
    """A part of the load with its own results. Times are seconds since the load's start."""

    killed: str | None
    """The store that was killed at the start of the window."""

    began_s: float
    ended_s: float
    recovered_s: float | None = None
    """Time at which every service could book, list and receive events again."""

    def of(self, samples: Sequence[Sample]) -> list[Sample]:
        """Return the requests that were due in the window."""
        return [one for one in samples if self.began_s <= one.due_s < self.ended_s]


@dataclass(frozen=True)
class Memory:
    """Memory of a container, from the first sample to the last."""

    workload: str
    limit_mib: float
    used_mib: Sequence[float]


@dataclass(frozen=True)
class Events:
    """The events of acknowledged bookings."""

    acknowledged: int
    read: int
    """Events received from Kafka; more than acknowledged if a committed booking's response was lost."""

    @property
    def lost(self) -> int:
        """Return how many acknowledged events weren't received."""
        return max(0, self.acknowledged - self.read)


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile by the nearest-rank method; NaN without values."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


def show_requests(samples: Sequence[Sample], windows: Sequence[Window], per_second: float, workers: int) -> None:
    """Print a table per window with the latencies of successful requests and the number of failures."""
    late = sum(one.sent_s - one.due_s > 0.1 for one in samples)
    print(
        f"{len(samples)} requests, {per_second:g} per second, {workers} in flight at most; {late} sent over 100 ms late"
    )
    print(
        "Latencies of successful requests, from the scheduled time to the end of the response, with the TLS handshake."
    )
    for window in windows:
        found = window.of(samples)
        title = f"{window.killed} killed" if window.killed else "undisturbed"
        print(f"\n{title}, {window.ended_s - window.began_s:.0f} s")
        print(f"{'':10}{'sent':>7}{'failed':>8}{'p50':>9}{'p95':>9}{'p99':>9}{'longest':>9}   (ms)")
        for kind in sorted({one.kind for one in found}):
            _row(kind, [one for one in found if one.kind == kind])
        _row("all", found)
        _show_loss(window, found)


def show_memory(measured: Sequence[Memory]) -> None:
    """Print a table with a row per store."""
    print(f"\n{'memory':12}{'limit':>8}{'first':>8}{'max':>8}{'last':>8}   (MiB, as docker stats shows it)")
    for one in measured:
        first, most, last = one.used_mib[0], max(one.used_mib), one.used_mib[-1]
        print(f"{one.workload:12}{one.limit_mib:8.0f}{first:8.0f}{most:8.0f}{last:8.0f}")


def show_rows(compared: Comparison) -> None:
    """Print the comparison of bookings with the databases."""
    stored = compared.acknowledged - len(compared.missing)
    print(f"\nrows: {compared.acknowledged} acknowledged, {stored} of them stored, {len(compared.repeated)} twice;")
    print(f"      {compared.unanswered} other rows, from requests that failed")
    for booking in compared.missing:
        print(f"MISSING: {booking}")


def show_events(events: Events) -> None:
    """Print the comparison of bookings with Kafka's events."""
    print(f"events: {events.acknowledged} bookings acknowledged, {events.read} events read back, {events.lost} lost")


def show_restarted(workloads: Sequence[str]) -> None:
    """Print the containers that exited without being killed."""
    print(f"restarted without being killed: {', '.join(workloads) or 'none'}")


def _row(name: str, samples: Sequence[Sample]) -> None:
    latencies_ms = [one.latency_s * 1000 for one in samples if one.failure is None]
    failed = len(samples) - len(latencies_ms)
    figures = "".join(
        f"{figure:9.0f}" for figure in (*(percentile(latencies_ms, one) for one in (0.5, 0.95, 0.99, 1)),)
    )
    print(f"{name:10}{len(samples):7}{failed:8}{figures}")


def _show_loss(window: Window, samples: Sequence[Sample]) -> None:
    """Print the duration and the clients' responses."""
    failed = [one for one in samples if one.failure is not None]
    if window.killed:
        recovery = (
            "NOT RECOVERED"
            if window.recovered_s is None
            else f"recovered after {window.recovered_s - window.began_s:.1f} s"
        )
        last = f", last failure {max(one.due_s for one in failed) - window.began_s:.1f} s" if failed else ""
        print(f"{recovery}{last} after the kill")
    for reason, times in Counter(str(one.failure)[:100] for one in failed).most_common(SHOWN_FAILURES):
        print(f"{times:7} x {reason}")

"""Compares the clock of the engine or the API server with this machine's."""

from __future__ import annotations

from collections.abc import Iterator

from operations.doctor.context import Context
from operations.doctor.finding import Finding

WARNING_S, ERROR_S = 2.0, 30.0


def clock_skew(context: Context) -> Iterator[Finding]:
    """Yield a finding if the difference is certainly larger than the limit."""
    offset = context.runtime.clock_offset(context.stack)
    certain_s = abs(offset.seconds) - offset.uncertainty_s
    if certain_s <= WARNING_S:
        return
    direction = "ahead of" if offset.seconds > 0 else "behind"
    yield Finding(
        "error" if certain_s > ERROR_S else "warning",
        "clock",
        f"The clock {context.runtime.location(context.stack)} is {abs(offset.seconds):.0f} s {direction} this "
        "machine's. Tokens and certificates may be refused, and times in logs don't match.",
        "Synchronize both machines by NTP (timedatectl status). A virtual machine may lose time while the laptop "
        "sleeps: restart it.",
    )

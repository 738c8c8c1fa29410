"""Formatting of numbers with Grafana's units."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """One of the scales of a unit."""

    factor: float
    """Size of the scale in the query's unit."""

    suffix: str


SCALES: dict[str, tuple[Scale, ...]] = {
    "short": (Scale(1, ""), Scale(1e3, "K"), Scale(1e6, "Mil")),
    "locale": (Scale(1, ""),),
    "percentunit": (Scale(0.01, "%"),),
    "s": (
        *(Scale(1e-6, "µs"), Scale(1e-3, "ms"), Scale(1, "s")),
        *(Scale(60, "min"), Scale(3600, "h"), Scale(86_400, "days")),
    ),
    "ms": (Scale(1e-3, "µs"), Scale(1, "ms"), Scale(1e3, "s")),
    "bytes": (Scale(1, "B"), Scale(2**10, "KiB"), Scale(2**20, "MiB"), Scale(2**30, "GiB")),
    "Bps": (Scale(1, "B/s"), Scale(1e3, "kB/s"), Scale(1e6, "MB/s")),
    "reqps": (Scale(1, "req/s"), Scale(1e3, "K req/s")),
    "ops": (Scale(1, "ops/s"), Scale(1e3, "K ops/s")),
    "currencyEUR": (Scale(1, "€"), Scale(1e3, "K€")),
}
"""Maps Grafana's unit names to their scales, the smallest first."""

STEPS = (1, 2, 2.5, 5, 10)
MAX_TICKS = 5


def scale_for(value: float, unit: str) -> Scale:
    """Return the largest scale that the value reaches; for 0, the unit's own.

    Raises:
        KeyError: the unit isn't in the table.
    """
    scales = SCALES[unit]
    if value == 0:
        return next((one for one in scales if one.factor == 1), scales[0])
    return next((one for one in reversed(scales) if abs(value) >= one.factor), scales[0])


def format_value(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a value with its unit, by default with three significant digits."""
    if not math.isfinite(value):
        return str(value)
    scale = scale_for(value, unit)
    number = value / scale.factor
    if decimals is None:
        decimals = 0 if number == 0 else max(0, 2 - math.floor(math.log10(abs(number))))
        digits = f"{number:,.{decimals}f}"
        digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    else:
        digits = f"{number:,.{decimals}f}"
    return f"{digits} {scale.suffix}".rstrip()


def ticks(top: float, unit: str) -> list[tuple[float, str]]:
    """Return round values from 0 to `top` in at most five steps, all except 0 in the same scale."""
    scale = scale_for(top, unit)
    highest = top / scale.factor
    power = 10 ** math.floor(math.log10(highest / MAX_TICKS))
    step = next(one * power for one in STEPS if highest / (one * power) <= MAX_TICKS)
    numbers = [number * step for number in range(1, int(highest / step + 1e-9) + 1)]
    marks = [(number * scale.factor, f"{number:.6g} {scale.suffix}".rstrip()) for number in numbers]
    return [(0.0, format_value(0, unit)), *marks]

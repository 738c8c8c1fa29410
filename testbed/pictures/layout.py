"""Positions in a picture, in pixels from its upper left corner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from testbed.pictures.panels import Place

COLUMNS = 24
COLUMN, ROW = 58, 34
GAP = 8
"""Gap between two panels."""

HEADER, FOOTER = 84, 34
WIDTH = COLUMNS * COLUMN + GAP
MAX_LEGEND_ROWS = 3
TIME_STEPS_S = (60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400)
MAX_TIME_LABELS = 6


@dataclass(frozen=True)
class Box:
    """A rectangle."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Return the x coordinate of the right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Return the y coordinate of the bottom edge."""
        return self.top + self.height

    def inside(self, left: float, top: float, right: float, bottom: float) -> Box:
        """Return the area inside these margins."""
        return Box(self.left + left, self.top + top, self.width - left - right, self.height - top - bottom)


class Legend(NamedTuple):
    """The names below a graph."""

    rows: list[list[str]]
    left_out: int
    """Names for which there is no space."""


def panel_box(place: Place) -> Box:
    """Return a panel's rectangle, without the gap around it."""
    return Box(
        left=place.x * COLUMN + GAP,
        top=HEADER + place.y * ROW,
        width=place.w * COLUMN - GAP,
        height=place.h * ROW - GAP,
    )


def page_height(rows: int) -> int:
    """Return the height of a picture with a number of grid rows."""
    return HEADER + rows * ROW + FOOTER


def lay_out_legend(names: Sequence[str], width: float, width_of: Callable[[str], float]) -> Legend:
    """Arrange names in at most three rows of at most this width.

    Args:
        names: the names by importance.
        width: the width of a row.
        width_of: returns the width of a name with its marker and the gap after it.
    """
    rows: list[list[str]] = []
    used = 0.0
    for number, name in enumerate(names):
        needed = width_of(name)
        if not rows or used + needed > width:
            if len(rows) == MAX_LEGEND_ROWS:
                return Legend(rows, len(names) - number)
            rows.append([])
            used = 0.0
        rows[-1].append(name)
        used += needed
    return Legend(rows, 0)


def moments(start: float, end: float) -> list[float]:
    """Return at most six round times in the range."""
    step = next((one for one in TIME_STEPS_S if (end - start) / one <= MAX_TIME_LABELS), TIME_STEPS_S[-1])
    first = int(-(-start // step))
    return [float(number * step) for number in range(first, int(end // step) + 1)]

"""The parts of a dashboard's panels that a picture shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

KINDS: dict[str, Literal["row", "graph", "number", "timeline"]] = {
    "row": "row",
    "timeseries": "graph",
    "stat": "number",
    "state-timeline": "timeline",
}
"""Grafana's panel types that the dashboards use."""


@dataclass(frozen=True)
class Place:
    """Position and size in Grafana's grid of 24 columns."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, kw_only=True)
class DrawnPanel:
    """A panel, or the heading of a section."""

    title: str
    kind: Literal["row", "graph", "number", "timeline"]
    place: Place
    targets: tuple[tuple[str, str], ...] = ()
    """Expression and legend of each query."""

    unit: str = "short"
    decimals: int | None = None
    limits: frozenset[str] = frozenset()
    """Names of the lines that are dashed and red."""

    steps: tuple[tuple[float, str], ...] = ()
    """The colours of numbers and the values at which they begin."""

    words: Mapping[float, tuple[str, str]] | None = None
    """Maps each value of a timeline to its text and colour."""

    no_value: str = "No data"

    def colour_of(self, value: float) -> str:
        """Return the colour of a number: that of the last step it reaches."""
        return next((colour for least, colour in reversed(self.steps) if value >= least), "text")


@dataclass(frozen=True, kw_only=True)
class DrawnBoard:
    """One dashboard."""

    uid: str
    title: str
    description: str
    panels: tuple[DrawnPanel, ...]

    @property
    def rows(self) -> int:
        """Return the height in grid rows."""
        return max(panel.place.y + panel.place.h for panel in self.panels)


def read_board(file: Path) -> DrawnBoard:
    """Return the dashboard in a file.

    Raises:
        KeyError: a panel has a type that isn't in the table.
    """
    read = json.loads(file.read_text())
    return DrawnBoard(
        uid=read["uid"],
        title=read["title"],
        description=read["description"],
        panels=tuple(_panel(panel) for panel in read["panels"]),
    )


def _panel(panel: Mapping[str, Any]) -> DrawnPanel:
    kind, place = KINDS[panel["type"]], Place(**{side: panel["gridPos"][side] for side in "xywh"})
    if kind == "row":
        return DrawnPanel(title=panel["title"], kind=kind, place=place)
    shown = panel["fieldConfig"]["defaults"]
    steps = shown.get("thresholds", {}).get("steps", [])
    return DrawnPanel(
        title=panel["title"],
        kind=kind,
        place=place,
        targets=tuple((target["expr"], target["legendFormat"]) for target in panel["targets"]),
        unit=shown["unit"],
        decimals=shown.get("decimals"),
        limits=frozenset(one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]),
        # The first step has no lower bound.
        steps=tuple((float("-inf") if one["value"] is None else one["value"], one["color"]) for one in steps),
        words={
            float(value): (one["text"], one["color"])
            for mapping in shown.get("mappings", [])
            for value, one in mapping["options"].items()
        },
        no_value=shown.get("noValue", "No data"),
    )

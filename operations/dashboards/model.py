"""What a dashboard shows, without Grafana's words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How a panel shows its numbers."""

    GRAPH = "graph"
    """Lines over time."""

    NUMBER = "number"
    """The latest value, large."""

    TIMELINE = "timeline"
    """A bar per series, red while the value is 0 and green while it is 1."""


@dataclass(frozen=True)
class Query:
    """One PromQL expression and the name of its series in the legend."""

    expression: str
    legend: str


def limit(expression: str, legend: str = "limit") -> Query:
    """A line that marks a limit: usually the recording rule which the alert compares with."""
    return Query(expression, legend)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel. Alerts link to it by its number."""

    id: int
    """Unique in the dashboard, and for good: links lead to it."""

    title: str
    description: str
    """What it shows, and when to worry."""

    unit: str
    """Grafana's name of the unit: `s`, `reqps`, `percentunit`, `bytes`, `short`, …"""

    queries: tuple[Query, ...]
    limits: tuple[Query, ...] = ()
    """Drawn dashed and red."""

    kind: Kind = Kind.GRAPH
    width: int = 8
    """Columns out of 24."""

    red_from: float | None = None
    """Numbers only: red at this value and above it."""

    red_below: float | None = None
    """Numbers only: red below this value."""

    decimals: int | None = None
    link: str | None = None
    """Address that a click on a series opens; `${__field.labels.workload}` is the series' workload."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Board:
    """One dashboard."""

    uid: str
    """Fixed: addresses and alerts contain it."""

    title: str
    description: str
    sections: tuple[Section, ...]
    workloads: str | None = None
    """Series whose `workload` label fills the choice `$workload`; None offers none."""

    default_start: str = "now-6h"
    """How far back it looks when it is opened."""

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Every panel, in the order of the sections."""
        return tuple(panel for section in self.sections for panel in section.panels)

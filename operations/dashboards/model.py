"""The content of a dashboard, independent of Grafana's format."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How a panel displays its values."""

    GRAPH = "graph"
    """Lines over time."""

    NUMBER = "number"
    """The latest value as a large number."""

    TIMELINE = "timeline"
    """A bar per series, red while the value is 0 and green while it is 1."""


@dataclass(frozen=True)
class Query:
    """One PromQL expression and the name of its series in the legend."""

    expression: str
    legend: str


def limit(expression: str, legend: str = "limit") -> Query:
    """A line that marks a limit, usually the recording rule that the alert compares with."""
    return Query(expression, legend)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel. Alerts link to it by its number."""

    id: int
    """Unique in the dashboard and permanent, because links contain it."""

    title: str
    description: str
    """What the panel shows, and which values indicate a problem."""

    unit: str
    """Grafana's name of the unit: `s`, `reqps`, `percentunit`, `bytes`, `short`, …"""

    queries: tuple[Query, ...]
    limits: tuple[Query, ...] = ()
    """Shown as dashed red lines."""

    kind: Kind = Kind.GRAPH
    width: int = 8
    """Width in columns out of 24."""

    red_from: float | None = None
    """Numbers only: red at this value and above it."""

    red_below: float | None = None
    """Numbers only: red below this value."""

    decimals: int | None = None
    link: str | None = None
    """URL that a click on a series opens; `${__field.labels.workload}` is the series' workload."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Board:
    """One dashboard."""

    uid: str
    """Permanent, because URLs and alerts contain it."""

    title: str
    description: str
    sections: tuple[Section, ...]
    workloads: str | None = None
    """Series whose `workload` labels are the choices of the variable `$workload`; None means no variable."""

    default_start: str = "now-6h"
    """Default time range."""

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Return every panel, in the order of the sections."""
        return tuple(panel for section in self.sections for panel in section.panels)

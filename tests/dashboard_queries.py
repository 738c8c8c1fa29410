"""Every query of the dashboards, for the suites that run them."""

from __future__ import annotations

from typing import NamedTuple

from operations.dashboards.generated import BOARDS


class PanelQuery(NamedTuple):
    """A query and the panel that shows it."""

    dashboard: str
    """The dashboard's uid."""

    panel: int
    expression: str


def queries() -> list[PanelQuery]:
    """Return every query of every panel, including limits."""
    return [
        PanelQuery(board.uid, panel.id, query.expression)
        for board in BOARDS
        for panel in board.panels
        for query in (*panel.queries, *panel.limits)
    ]

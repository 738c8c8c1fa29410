"""The dashboard files that Grafana mounts, and every query in them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from operations.dashboards import business_metrics, infrastructure, overview_platform, services_health
from operations.dashboards.render import dashboard_json

FOLDER = Path("assets/grafana/dashboards")
BOARDS = (overview_platform.BOARD, services_health.BOARD, business_metrics.BOARD, infrastructure.BOARD)


class PanelQuery(NamedTuple):
    """A query and the panel that shows it."""

    dashboard: str
    """The dashboard's uid."""

    panel: int
    expression: str


def dashboard_files() -> dict[Path, str]:
    """Map each file's path in the project to its JSON."""
    return {FOLDER / f"{board.uid.removeprefix('pti-')}.json": dashboard_json(board) for board in BOARDS}


def queries() -> list[PanelQuery]:
    """Return every query of every panel, including limits."""
    return [
        PanelQuery(board.uid, panel.id, query.expression)
        for board in BOARDS
        for panel in board.panels
        for query in (*panel.queries, *panel.limits)
    ]

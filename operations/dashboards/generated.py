"""The files Grafana mounts, and every query in them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from operations.dashboards import business_metrics, infrastructure, overview_platform, services_health
from operations.dashboards.render import dashboard_json

FOLDER = Path("assets/grafana/dashboards")
BOARDS = (overview_platform.BOARD, services_health.BOARD, business_metrics.BOARD, infrastructure.BOARD)


class PanelQuery(NamedTuple):
    """One query, and where it is shown."""

    dashboard: str
    """The dashboard's uid."""

    panel: int
    expression: str


def dashboard_files() -> dict[Path, str]:
    """Path below the project to the JSON that belongs there."""
    return {FOLDER / f"{board.uid.removeprefix('pti-')}.json": dashboard_json(board) for board in BOARDS}


def queries() -> list[PanelQuery]:
    """Every query of every panel, limits included."""
    return [
        PanelQuery(board.uid, panel.id, query.expression)
        for board in BOARDS
        for panel in board.panels
        for query in (*panel.queries, *panel.limits)
    ]

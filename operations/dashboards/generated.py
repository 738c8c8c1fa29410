"""The dashboard files that Grafana mounts."""

from __future__ import annotations

from pathlib import Path

from operations.dashboards import business_metrics, infrastructure, overview_platform, services_health
from operations.dashboards.render import dashboard_json

FOLDER = Path("assets/grafana/dashboards")
BOARDS = (overview_platform.BOARD, services_health.BOARD, business_metrics.BOARD, infrastructure.BOARD)


def dashboard_files() -> dict[Path, str]:
    """Map each file's path in the project to its JSON."""
    return {FOLDER / f"{board.uid.removeprefix('pti-')}.json": dashboard_json(board) for board in BOARDS}

"""Grafana's dashboards: tables in Python, written as the JSON that Grafana mounts."""

from operations.dashboards.generated import dashboard_files

__all__ = ["dashboard_files"]

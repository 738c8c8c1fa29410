"""Grafana's dashboards: tables in Python, written as the JSON that Grafana mounts."""

from operations.dashboards.generated import PanelQuery, dashboard_files, queries

__all__ = ["PanelQuery", "dashboard_files", "queries"]

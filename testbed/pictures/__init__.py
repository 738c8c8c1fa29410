"""Pictures of the dashboards: simple renderings of every panel's queries, without Grafana."""

from testbed.pictures.draw import draw_all

__all__ = ["draw_all"]

"""Monitoring: Prometheus, Alertmanager and Grafana."""

from components.monitoring.monitoring import Monitoring, MonitoringArgs, Nginx

__all__ = ["Monitoring", "MonitoringArgs", "Nginx"]

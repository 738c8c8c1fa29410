"""Monitoring: Prometheus, Alertmanager and Grafana."""

from components.monitoring.monitoring import Monitoring, MonitoringArgs

__all__ = ["Monitoring", "MonitoringArgs"]

"""Reports the alerts that fire in the stack's Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from operations.doctor.context import Context, NotRunning
from operations.doctor.finding import Finding, unchecked
from operations.project import OperationError

WORKLOAD = "prometheus"
COMMAND = ("wget", "-q", "-O", "-", "http://127.0.0.1:9090/api/v1/alerts")
"""The image has BusyBox."""


def firing_alerts(context: Context) -> Iterator[Finding]:
    """Yield a finding for each alert that fires, however many objects it fires for. Without `monitoring.enabled`,
    nothing is checked."""
    if not context.settings.monitoring.enabled:
        return
    try:
        alerts = json.loads(context.execute(WORKLOAD, *COMMAND))["data"]["alerts"]
    except NotRunning:
        return  # The check of the workloads reports it.
    except OperationError as error:
        yield unchecked("alerts", error, f"make logs STACK={context.stack} SERVICE={WORKLOAD}", effect_of=WORKLOAD)
        return
    firing: dict[str, list[dict[str, Any]]] = {}
    for alert in alerts:
        if alert["state"] == "firing":
            firing.setdefault(alert["labels"]["alertname"], []).append(alert)
    for name, found in sorted(firing.items(), key=lambda one: min(_since(alert) for alert in one[1])):
        critical = any(alert["labels"].get("severity") == "critical" for alert in found)
        texts = dict.fromkeys(alert["annotations"].get("description") or _summary(alert) for alert in found)
        yield Finding(
            "error" if critical else "warning",
            f"alert {name}",
            f"It fires since {min(map(_since, found))[:19]}Z: {' '.join(texts)}",
            f"docs/alerts.md#{name.lower()}",
        )


def _since(alert: dict[str, Any]) -> str:
    return str(alert["activeAt"])


def _summary(alert: dict[str, Any]) -> str:
    return str(alert["annotations"].get("summary", ""))

"""A small stack with monitoring on the Docker engine, with alerts that fire within seconds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from settings.monitoring import MonitoringSettings, PrometheusSettings
from tests.e2e import full_stack
from tests.e2e.full_stack import FRONTEND_IMAGE, FullStack
from tests.e2e.shortened_checkout import shortened_checkout
from tests.e2e.watched import THRESHOLDS, MonitoringClients
from tests.engine import docker_engine
from tests.engine.docker_engine import docker
from tests.engine.machine import BUILD
from tests.ports import free_ports

SERVICES = ("user", "rdv")
FRONTEND = "client-pwa"
SERVERS = ("prometheus", "alertmanager", "grafana")


class MonitoredStack(MonitoringClients, FullStack):
    """The stack, and the responses of Prometheus and Grafana."""

    def prometheus_url(self) -> str:
        return str(self.outputs().monitoring.prometheus)

    def grafana_url(self) -> str:
        return str(self.outputs().monitoring.grafana)

    def outputs(self) -> Any:
        """Return the outputs, which are cached because nothing here changes them."""
        if not hasattr(self, "_outputs"):
            self._outputs = super().outputs()
        return self._outputs


def engine_address() -> str:
    """Return the address of this machine that every container can reach: the engine's default bridge."""
    subnet = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}").strip()
    return str(ip_network(subnet)[1])


def monitoring(scrape_interval_s: int = PrometheusSettings().scrape_interval_s, **more: Any) -> dict[str, Any]:
    """Return the section `monitoring`: enabled, on free host ports, with the sections of `more`."""
    prometheus, grafana, alertmanager = free_ports(3)
    return {
        "enabled": True,
        "prometheus": {"port": prometheus, "scrapeIntervalS": scrape_interval_s},
        "grafana": {"port": grafana},
        "alertmanager": {"port": alertmanager},
        **more,
    }


def watched_stores(services: Mapping[str, Any], watched: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the stores, the gateway, these services and monitoring, in KRaft mode to save a
    container."""
    described = full_stack.configuration(services)
    return described | {"kafka": {"port": described["kafka"]["port"], "mode": "kraft"}, "monitoring": watched}


def configuration() -> dict[str, Any]:
    """Return the configuration of two services and a front end behind the gateway, scraped every three seconds."""
    services = {"deploy": [*SERVICES], "environment": {"FAULT_INJECTION": "true"}, "overrides": full_stack.PUBLIC}
    sections = {"receivers": {"webhook": True, "heartbeat": True}, "thresholds": THRESHOLDS}
    return watched_stores(services, monitoring(3, **sections)) | {
        "frontends": {"deploy": [FRONTEND], "image": FRONTEND_IMAGE},
    }


def lacking_images() -> str | None:
    """Return a message about an image of the stack that the engine lacks, or None if it has all."""
    own = MonitoringSettings()
    exporters = own.exporters.model_dump(exclude={"kube_state"}).values()
    for image in (own.prometheus.image, own.grafana.image, own.alertmanager.image, *exporters):
        if not docker("image", "ls", "--quiet", image).strip():
            return f"the image {image} is missing: {BUILD}"
    return full_stack.lacking_images()


@contextmanager
def monitored_stack(folder: Path, address: str) -> Iterator[MonitoredStack]:
    """Provide a stack, not yet up, that sends its alerts to `address`; skip the test without its images, and remove
    everything at the end."""
    if reason := lacking_images():
        pytest.skip(reason)
    program = shortened_checkout(folder / "checkout")
    stack = MonitoredStack(folder / "home", program=program, configuration=configuration())
    stack.set_secrets({"alertWebhookUrl": address, "heartbeatWebhookUrl": address})
    try:
        yield stack
    finally:
        stack.remove()


def is_watcher(workload: str) -> bool:
    """Return whether a workload is part of monitoring."""
    return workload in SERVERS or workload.endswith("-exporter")


def memory_mib(stack: str, workloads: Collection[str] | None = None) -> dict[str, float]:
    """Map each running workload, or each of the given ones, to its container's current memory use."""
    running = {
        one["Config"]["Labels"][docker_engine.WORKLOAD_LABEL]: one["Name"].lstrip("/")
        for one in docker_engine.containers(stack)
        if one["State"]["Running"]
    }
    wanted = {name: container for name, container in running.items() if workloads is None or name in workloads}
    # If a container ends in the meantime, the command leaves it out and fails.
    shown = docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *wanted.values(), check=False)
    amounts = {line.split()[0]: line.split()[1] for line in shown.splitlines() if line.startswith("pti-")}
    return {name: _mib(amounts[container]) for name, container in wanted.items() if container in amounts}


def _mib(amount: str) -> float:
    units = {"B": 2**-20, "KiB": 2**-10, "MiB": 1.0, "GiB": 1024.0}
    number = amount.rstrip("BiGMK")
    return float(number) * units[amount.removeprefix(number)]

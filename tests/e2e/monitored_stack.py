"""A small stack that is watched, with alerts that come within seconds; and what its watchers say.

How long a rule waits and looks back is proved by its unit tests (`tests/artifacts/alerts/`). Here the same expressions
judge real series, in a copy of the checkout in which every time is shorter.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from operations.project import ROOT
from settings.monitoring import Monitoring
from tests.e2e import full_stack
from tests.e2e.full_stack import FullStack
from tests.engine import docker_engine
from tests.engine.configurations import free_ports
from tests.engine.docker_engine import docker
from tests.engine.machine import BUILD

SERVICES = ("user", "rdv")
BURN = {"AvailabilityBurnFast", "AvailabilityBurnMedium", "AvailabilityBurnSlow"}
"""They look at the same failures over longer times, and stay longer."""

FOR = {"1m": "3s", "2m": "4s", "5m": "6s", "10m": "8s", "15m": "10s", "1h": "12s"}
"""How long an expression has to hold: real to shortened, in the same order."""

WINDOWS = {"5m": "20s", "15m": "40s", "30m": "25s", "1h": "30s", "6h": "40s", "3d": "50s"}
"""How far a rule looks back: the same."""

GROUPING = {"30s": "2s", "10s": "1s", "5m": "3s", "1m": "5s", "12h": "1h", "1h": "1h"}
"""Alertmanager's own times."""

THRESHOLDS = {"latencyMs": 2500, "diskPercent": 99.9}
"""A machine that does other work answers late, and its disk is nobody's concern, until a test makes it one."""


def shortened_checkout(folder: Path) -> Path:
    """A copy of this checkout with shorter times."""
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    for path in (folder / "assets/prometheus/rules").glob("*.yml"):
        text = re.sub(r"(?m)^(\s+for: )(\S+)$", lambda found: found[1] + FOR[found[2]], path.read_text())
        path.write_text(re.sub(r"\[(\w+)\]", lambda found: f"[{WINDOWS[found[1]]}]", text))
    routing = folder / "components/monitoring/alertmanager.py"
    times = r'("(?:group_wait|group_interval|repeat_interval)": )"(\w+)"'
    routing.write_text(re.sub(times, lambda found: f'{found[1]}"{GROUPING.get(found[2], "1s")}"', routing.read_text()))
    return folder


class Receiver:
    """Where Alertmanager sends what people are told: a program of this machine."""

    def __init__(self) -> None:
        self.firing: dict[tuple[str, str], Mapping[str, Any]] = {}
        """(alert, workload) to what was told last, while it fires."""

        self.told: set[tuple[str, str]] = set()
        """Everything that fired since `forget`."""

        self.signs_of_life = 0
        self._lock = threading.Lock()

    def take(self, message: Mapping[str, Any]) -> None:
        """One message of Alertmanager."""
        with self._lock:
            for alert in message["alerts"]:
                labels = alert["labels"]
                key = (labels["alertname"], labels.get("workload", ""))
                if labels["alertname"] == "Watchdog":
                    self.signs_of_life += 1
                elif alert["status"] == "firing":
                    self.firing[key] = alert
                    self.told.add(key)
                else:
                    self.firing.pop(key, None)

    def forget(self) -> None:
        """Begins the count of what is told anew."""
        with self._lock:
            self.told = {*self.firing}


@contextmanager
def receiver() -> Iterator[tuple[Receiver, str]]:
    """A receiver, and the address at which containers reach it."""
    taken = Receiver()

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    # The engine's own bridge is an address of this machine that every container reaches.
    subnet = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}").strip()
    address = str(ip_network(subnet)[1])
    server = ThreadingHTTPServer((address, 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield taken, f"http://{address}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


class MonitoredStack(FullStack):
    """The stack, and what Prometheus and Grafana answer."""

    def ask_prometheus(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of its API."""
        return self._asked(f"{self.outputs().monitoring.prometheus}/api/v1/{path}", parameters)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        found: list[dict[str, Any]] = self.ask_prometheus("query", query=expression)["result"]
        return found

    def value(self, expression: str) -> float | None:
        """The one value of an expression; None where there is none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def alerts(self) -> dict[tuple[str, str], str]:
        """(alert, workload) to its state, pending or firing, as Prometheus has them."""
        return {
            (one["labels"]["alertname"], one["labels"].get("workload", "")): one["state"]
            for one in self.ask_prometheus("alerts")["alerts"]
        }

    def ask_grafana(self, path: str, password: str, **parameters: str) -> Any:
        """An answer of its API to the user admin."""
        encoded = base64.b64encode(f"admin:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {encoded}"}
        return self._asked(f"{self.outputs().monitoring.grafana}{path}", parameters, headers)

    def outputs(self) -> Any:
        """Asked for once: nothing here changes them."""
        if not hasattr(self, "_outputs"):
            self._outputs = super().outputs()
        return self._outputs

    @staticmethod
    def _asked(url: str, parameters: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{url}?{urllib.parse.urlencode(parameters)}", headers=dict(headers or {})
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
                return json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{refused.code} of {url}: {refused.read().decode()}") from None


def configuration() -> dict[str, Any]:
    """Two services behind the gateway, watched every five seconds."""
    prometheus, grafana, alertmanager = free_ports(3)
    described = full_stack.configuration(
        {"deploy": [*SERVICES], "environment": {"FAULT_INJECTION": "true"}, "each": full_stack.PUBLIC}
    )
    return described | {
        # One container less than with ZooKeeper.
        "kafka": {"port": described["kafka"]["port"], "mode": "kraft"},
        "monitoring": {
            "enabled": True,
            "prometheus": {"port": prometheus, "scrapeIntervalS": 5},
            "grafana": {"port": grafana},
            "alertmanager": {"port": alertmanager},
            "receivers": {"webhook": True, "watchdog": True},
            "thresholds": THRESHOLDS,
        },
    }


def lacking_images() -> str | None:
    """Which image of monitoring the engine lacks; None where it has all."""
    monitoring = Monitoring()
    exporters = monitoring.exporters.model_dump().values()
    for image in (monitoring.prometheus.image, monitoring.grafana.image, monitoring.alertmanager.image, *exporters):
        if not docker("image", "ls", "--quiet", image).strip():
            return f"the image {image} is not here: {BUILD}"
    return None


@contextmanager
def monitored_stack(folder: Path, address: str) -> Iterator[MonitoredStack]:
    """A stack that is not up yet and tells its alerts to `address`; skips without its images, leaves nothing behind."""
    if reason := full_stack.lacking_images() or lacking_images():
        pytest.skip(reason)
    program = shortened_checkout(folder / "checkout")
    stack = MonitoredStack(folder / "home", program=program, configuration=configuration())
    stack.set_secrets({"alertWebhookUrl": address, "watchdogWebhookUrl": address})
    try:
        yield stack
    finally:
        stack.remove()


def memory_mib(stack: str) -> dict[str, float]:
    """Workload to the memory its container uses now."""
    names = [one["Name"].lstrip("/") for one in docker_engine.containers(stack) if one["State"]["Running"]]
    shown = docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *names).splitlines()
    units = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
    used = {}
    for line in shown:
        name, amount = line.split()[:2]
        number, unit = amount[:-3], amount[-3:]
        used[name.removeprefix("pti-").removesuffix(f"-{stack}")] = float(number) * units[unit]
    return used

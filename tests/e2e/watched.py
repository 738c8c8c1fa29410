"""A stack with monitoring: the state of its alerts and metrics, and the notifications it sends, on either backend."""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Generic, TypeVar

from tests.artifacts.test_dashboards import with_values
from tests.dashboard_queries import queries
from tests.e2e.load import Load
from tests.e2e.platform import Platform
from tests.engine.waiting import until

BURN_RATE_ALERTS = {"AvailabilityBurnFast", "AvailabilityBurnMedium", "AvailabilityBurnSlow"}
"""These alerts react to the same failures, but over longer windows, so they fire and resolve later."""

THRESHOLDS = {"latencyMs": 2500, "diskPercent": 99.9}
"""A busy machine responds slowly and its disks may be full, so these thresholds are high until a test lowers one."""


BUSINESS = {
    "pti_appointments_created_total": 3,
    "pti_appointments_cancelled_total": 1,
    "pti_payments_amount_euros_total": 42,
    "pti_payments_failed_total": 1,
}
"""Counters, and the amounts by which `Watched.produce_business_metrics` increases them."""

REQUESTS = {("/appointments", "201"): 3, ("/payments", "201"): 2, ("/payments", "402"): 1}
"""Maps (route, status) to the number of POST requests that `Watched.produce_business_metrics` sends."""

POST_COUNTER = 'http_server_request_duration_seconds_count{workload="rdv", http_request_method="POST"}'
"""Series that count these requests."""

HOST_ALERTS = {("MachineOutOfMemory", "node")}
"""Alerts that containers of other suites may cause, because the kernel counts for the whole machine."""

RARE_SERIES = {"redis_errors_total"}
"""Series that rules read and that only exist after a failure."""

GRAFANA_PROXY_PATH = "/api/datasources/proxy/uid/prometheus/api/v1/query"


class Receiver:
    """A webhook on this machine that receives Alertmanager's notifications."""

    def __init__(self) -> None:
        self.firing: dict[tuple[str, str], Mapping[str, Any]] = {}
        """Maps (alert, workload) to the last notification, while it fires."""

        self.notified: set[tuple[str, str]] = set()
        """Everything that has fired since `reset`."""

        self.heartbeats = 0
        self._lock = threading.Lock()

    def receive(self, message: Mapping[str, Any]) -> None:
        """Process one message from Alertmanager."""
        with self._lock:
            for alert in message["alerts"]:
                labels = alert["labels"]
                key = (labels["alertname"], labels.get("workload", ""))
                if labels["alertname"] == "Watchdog":
                    self.heartbeats += 1
                elif alert["status"] == "firing":
                    self.firing[key] = alert
                    self.notified.add(key)
                else:
                    self.firing.pop(key, None)

    def reset(self) -> None:
        """Forget earlier notifications."""
        with self._lock:
            self.notified = {*self.firing}


@contextmanager
def running_receiver(address: str) -> Iterator[tuple[Receiver, str]]:
    """Run a receiver at an address that the stack's containers can reach, and return it with its URL."""
    found = Receiver()

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.receive(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Don't log requests."""

    server = ThreadingHTTPServer((address, 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found, f"http://{address}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


class MonitoringClients:
    """Clients of Prometheus and Grafana on either backend."""

    def prometheus_url(self) -> str:
        """Return Prometheus' URL for this machine."""
        raise NotImplementedError

    def grafana_url(self) -> str:
        """Return Grafana's URL."""
        raise NotImplementedError

    def ask_prometheus(self, path: str, **parameters: str) -> Any:
        """Return `data` from a response of Prometheus' API."""
        return _get_json(f"{self.prometheus_url()}/api/v1/{path}", parameters)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the current series of an expression."""
        found: list[dict[str, Any]] = self.ask_prometheus("query", query=expression)["result"]
        return found

    def value(self, expression: str) -> float | None:
        """Return the only value of an expression, or None if there is none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def alerts(self) -> dict[tuple[str, str], str]:
        """Map (alert, workload) to its state in Prometheus, pending or firing."""
        return {
            (one["labels"]["alertname"], one["labels"].get("workload", "")): one["state"]
            for one in self.ask_prometheus("alerts")["alerts"]
        }

    def series_read(self, expression: str) -> set[str]:
        """Return the names of the series that an expression reads, as parsed by Prometheus."""
        return {*_series_names(self.ask_prometheus("parse_query", query=expression))}

    def ask_grafana(self, path: str, password: str, **parameters: str) -> Any:
        """Return a response of Grafana's API as the user admin."""
        encoded = base64.b64encode(f"admin:{password}".encode()).decode()
        return _get_json(f"{self.grafana_url()}{path}", parameters, {"Authorization": f"Basic {encoded}"})


StackT = TypeVar("StackT", bound=MonitoringClients)


@dataclass(frozen=True)
class Watched(Generic[StackT]):
    """The running stack, and the receiver of its notifications."""

    stack: StackT
    platform: Platform
    receiver: Receiver

    def wait_for_alerts(self, *expected: tuple[str, str], also_allowed: frozenset[str] = frozenset()) -> None:
        """Wait for notifications of exactly these (alert, workload); `also_allowed` ones may come too."""
        wanted = {*expected}
        until(f"{wanted} notified", lambda: wanted <= self.receiver.notified)
        workloads = {workload for _, workload in wanted}
        notified = self.receiver.notified - wanted - HOST_ALERTS
        others = {(name, of) for name, of in notified if name not in also_allowed or of not in workloads}
        assert others == set(), others

    def wait_until_resolved(self) -> None:
        """Wait until every alert is resolved and notified."""
        try:
            until("every alert is resolved", lambda: not self.receiver.firing and len(self.stack.alerts()) == 1)
        except AssertionError as late:
            raise AssertionError(f"{late}: {[*self.receiver.firing]}, {self.stack.alerts()}") from None
        assert [*self.stack.alerts()] == [("Watchdog", "")], self.stack.alerts()

    def wait_until_calm(self) -> None:
        """Wait until no alert fires, then count notifications from now on."""
        self.wait_until_resolved()
        self.receiver.reset()

    def wait_for_heartbeat(self) -> None:
        """Wait until the Watchdog's notification repeats."""
        before = self.receiver.heartbeats
        until("another Watchdog notification arrives", lambda: self.receiver.heartbeats > before)

    def produce_business_metrics(self) -> None:
        """Cause the metrics in `BUSINESS` and `REQUESTS` at the service rdv."""
        tenant = uuid.uuid4()
        assert [self.platform.book(tenant, "rdv").status for _ in range(3)] == [201] * 3
        cancelled = self.platform.listed(tenant, "rdv").json[0]["id"]
        token = self.platform.token(tenant)
        assert self.platform.call("POST", f"/api/rdv/appointments/{cancelled}/cancel", token).status == 200
        paid = [self.platform.call("POST", "/api/rdv/payments", token, {"amount_euros": one}) for one in (40, 2, -1)]
        assert [answer.status for answer in paid] == [201, 201, 402]

    def check_panels_have_data(self, empty: Collection[tuple[str, int]]) -> None:
        """Check that each query of each panel returns data during traffic, except those of the `empty` panels."""
        with (
            self.load("GET", "/api/rdv/appointments"),
            self.load("GET", "/api/user/appointments"),
            self.load("POST", "/api/rdv/payments", {"amount_euros": 1}, per_second=1),
        ):
            for query in queries():
                expression = with_values(query.expression)
                if (query.dashboard, query.panel) not in empty:
                    until(f"{query.dashboard} {query.panel}: {expression}", lambda e=expression: self.stack.query(e))  # type: ignore[misc]

    def check_grafana_proxy(self, password: str) -> None:
        """Check that Grafana queries Prometheus after a login."""
        answered = self.stack.ask_grafana(GRAFANA_PROXY_PATH, password, query="count(up)")
        assert answered["data"]["result"][0]["value"][1] == str(len(self.stack.query("up")))

    def load(self, method: str, path: str, body: object = None, per_second: float = 5) -> Load:
        """Send requests to a path of the API."""
        token = self.platform.token(expires_in_s=600)
        return Load.of(lambda: self.platform.call(method, path, token, body), per_second=per_second)


def _get_json(url: str, parameters: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{url}?{urllib.parse.urlencode(parameters)}", headers=dict(headers or {})
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
            return json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        raise AssertionError(f"{refused.code} of {url}: {refused.read().decode()}") from None


def _series_names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "vectorSelector" and node.get("name"):
            yield node["name"]
        for child in node.values():
            yield from _series_names(child)
    elif isinstance(node, list):
        for child in node:
            yield from _series_names(child)

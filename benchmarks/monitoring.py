"""Cost of monitoring with 7 services and with 70: memory, CPU time, storage, and their ratios.

    python -m benchmarks.monitoring [--services 7 70] [--seconds 75]

Each number of services has its own stack on the Docker engine, with the project's default monitoring (scraped every 15
seconds). The stores, a database per service, the gateway, the first service, and the monitoring workloads are real. The
other services don't run: one container responds for them, under their names and ports, with the first service's current
metrics page, so each has as many series as that one.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.many_services import VARIABLE
from benchmarks.report import machine
from operations.project import ROOT
from settings.catalog import SERVICES
from tests.e2e import full_stack, monitored_stack
from tests.e2e.monitored_stack import MonitoredStack
from tests.engine import docker_engine
from tests.engine.docker_engine import docker
from tests.engine.waiting import until

PROGRAM = ROOT / "benchmarks" / "programs" / "monitoring"
STAND_IN_LABEL = "pti.stand-in"
SAMPLE = re.compile(r"^(\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
SCRAPES_BEFORE = 3
"""Number of scrapes after the traffic until every series and recording rule exists."""

MIB = 2**20


@dataclass(frozen=True)
class SelfMetrics:
    """Prometheus' own metrics at one moment."""

    at: float
    figures: Mapping[str, float]
    """Maps its own metrics, by name, to their sums over all labels."""


@dataclass(frozen=True)
class Cost:
    """Cost of monitoring a number of services."""

    services: int
    targets: int
    memory_mib: Mapping[str, float]
    """Maps each container to its memory, as shown by `docker stats`."""

    stand_ins: frozenset[str]
    """Containers that run a stand-in for the real software."""

    scraped: float
    """Samples of one scrape of all targets."""

    slowest_s: float
    """Longest scrape of one target."""

    rules_s: float
    """Duration of one evaluation of all rules."""

    seconds: float
    """Seconds between the two measurements."""

    before: SelfMetrics
    after: SelfMetrics
    volume_mib: float

    def grown(self, name: str) -> float:
        """Return the increase of one of Prometheus' counters."""
        return self.after.figures[name] - self.before.figures[name]

    @property
    def series(self) -> float:
        """Return the number of series in Prometheus' memory, including recorded ones."""
        return self.after.figures["prometheus_tsdb_head_series"]

    @property
    def resident_mib(self) -> float:
        """Return the memory of Prometheus' process."""
        return self.after.figures["process_resident_memory_bytes"] / MIB

    @property
    def cpu_s_per_minute(self) -> float:
        """Return Prometheus' CPU time for scraping, rules and storage."""
        return self.grown("process_cpu_seconds_total") * 60 / self.seconds

    @property
    def samples(self) -> float:
        """Return the number of samples stored between the two measurements."""
        return self.grown("prometheus_tsdb_head_samples_appended_total")


ROWS: dict[str, Callable[[Cost], float]] = {
    "targets": lambda cost: cost.targets,
    "series": lambda cost: cost.series,
    "samples of one scrape of all targets": lambda cost: cost.scraped,
    "slowest scrape of one target, ms": lambda cost: cost.slowest_s * 1000,
    "one evaluation of all rules, ms": lambda cost: cost.rules_s * 1000,
    "memory of all containers, MiB": lambda cost: sum(cost.memory_mib.values()),
    "memory of Prometheus, MiB": lambda cost: cost.memory_mib["prometheus"],
    "resident memory of its process, MiB": lambda cost: cost.resident_mib,
    "the same, per series, KiB": lambda cost: cost.resident_mib * 1024 / cost.series,
    "CPU of Prometheus, s per minute": lambda cost: cost.cpu_s_per_minute,
    "the same, per 1000 series, s": lambda cost: cost.cpu_s_per_minute * 1000 / cost.series,
    "samples stored per second": lambda cost: cost.samples / cost.seconds,
    "log written per sample, bytes": lambda cost: cost.grown("prometheus_tsdb_wal_storage_size_bytes") / cost.samples,
    "volume, MiB": lambda cost: cost.volume_mib,
    "volume per series, KiB": lambda cost: cost.volume_mib * 1024 / cost.series,
}
"""Rows of the table; those about Prometheus use its own metrics."""


def main() -> int:
    """Print the table. Exit code 1 if an image is missing."""
    parser = argparse.ArgumentParser(description="Measures the cost of monitoring with few and with many services.")
    parser.add_argument("--services", type=int, nargs="+", default=[7, 70], metavar="N", help="how many")
    parser.add_argument("--seconds", type=float, default=75, help="measurement time in seconds (default: %(default)s)")
    wanted = parser.parse_args()
    if min(wanted.services) < len(SERVICES):
        parser.error(f"at least {len(SERVICES)} services: the platform's own")
    if reason := monitored_stack.lacking_images():
        print(reason, file=sys.stderr)
        return 1
    print(machine(), flush=True)
    costs = []
    for services in wanted.services:
        started = time.monotonic()
        costs.append(measured(services, wanted.seconds))
        print(f"{services} services: measured in {time.monotonic() - started:.0f} s", flush=True)
    print(machine())
    show(costs)
    return 0


def measured(services: int, seconds: float) -> Cost:
    """Start a stack, send traffic to every service, and measure monitoring for a number of seconds."""
    os.environ[VARIABLE] = str(services)
    with tempfile.TemporaryDirectory(prefix="pti-benchmark-") as home:
        # The program reads the number of services from the environment.
        configuration = monitored_stack.watched_stores({"deploy": "all"}, monitored_stack.monitoring())
        stack = MonitoredStack(Path(home, "stack"), program=PROGRAM, configuration=configuration)
        stack.set_secrets(full_stack.third_party_secrets())
        try:
            stack.up().succeeded()
            send_requests(stack)
            looks = scrapes(stack)
            until("every series exists", lambda: scrapes(stack) >= looks + SCRAPES_BEFORE)
            before = self_metrics(stack)
            time.sleep(seconds)
            after = self_metrics(stack)
            return cost_of(stack, services, before, after)
        finally:
            stack.remove()


def send_requests(stack: MonitoredStack) -> None:
    """Send requests to every route of the running service, then to each of the others through the gateway, so that all
    series exist."""
    until("every target answers", lambda: stack.query("count(up == 1) == count(up)"))
    platform = stack.platform()
    tenant, real = uuid.uuid4(), SERVICES[0].name
    booked = [platform.book(tenant, real) for _ in range(2)]
    if [one.status for one in booked] != [201, 201]:
        raise AssertionError(f"no appointment could be booked: {booked}")
    token = platform.token(tenant)
    for appointment, how in zip(booked, ("cancel", "honour"), strict=True):
        platform.call("POST", f"/api/{real}/appointments/{appointment.json['id']}/{how}", token)
        platform.call("GET", f"/api/{real}/appointments/{appointment.json['id']}", token)
    for amount in (40, -1):
        platform.call("POST", f"/api/{real}/payments", token, {"amount_euros": amount})
    platform.events(tenant, real)
    for name in platform.services:
        for _ in range(2):
            platform.call("GET", f"/api/{name}/appointments", token)
        platform.call("GET", f"/api/{name}/appointments")


def scrapes(stack: MonitoredStack) -> float:
    """Return how often Prometheus has scraped itself."""
    return stack.value('sum(count_over_time(up{job="prometheus"}[1h]))') or 0


def self_metrics(stack: MonitoredStack) -> SelfMetrics:
    """Return Prometheus' current metrics page: its stored series are as old as the last scrape."""
    at = time.monotonic()
    with urllib.request.urlopen(f"{stack.prometheus_url()}/metrics", timeout=30) as answer:  # noqa: S310 - our address
        page = answer.read().decode()
    figures: dict[str, float] = {}
    for name, value in SAMPLE.findall(page):
        figures[name] = figures.get(name, 0) + float(value)
    return SelfMetrics(at, figures)


def cost_of(stack: MonitoredStack, services: int, before: SelfMetrics, after: SelfMetrics) -> Cost:
    """Return the results at the end of the measurement."""
    watchers = {
        one["Config"]["Labels"][docker_engine.WORKLOAD_LABEL]: one["Config"]["Labels"].get(STAND_IN_LABEL) == "true"
        for one in docker_engine.containers(stack.name)
        if monitored_stack.is_watcher(one["Config"]["Labels"][docker_engine.WORKLOAD_LABEL])
    }
    used = docker("exec", stack.container("prometheus")["Id"], "du", "-sk", "/prometheus")
    return Cost(
        services=services,
        targets=len(stack.query("up")),
        memory_mib={name: mib for name, mib in monitored_stack.memory_mib(stack.name).items() if name in watchers},
        stand_ins=frozenset(name for name, stands_in in watchers.items() if stands_in),
        scraped=stack.value("sum(scrape_samples_scraped)") or 0,
        slowest_s=stack.value("max(scrape_duration_seconds)") or 0,
        rules_s=stack.value("sum(prometheus_rule_group_last_duration_seconds)") or 0,
        seconds=after.at - before.at,
        before=before,
        after=after,
        volume_mib=int(used.split()[0]) / 1024,
    )


def show(costs: list[Cost]) -> None:
    """Print a row per figure; the last column is the ratio of the most services to the fewest."""
    print(f"{'services':38}{''.join(f'{cost.services:>12}' for cost in costs)}{'ratio':>9}")
    for name, figure in ROWS.items():
        _row(name, [figure(cost) for cost in costs])
    print("memory by container, MiB")
    for workload in sorted(costs[0].memory_mib):
        note = " (a stand-in)" if workload in costs[0].stand_ins else ""
        _row(f"  {workload}{note}", [cost.memory_mib[workload] for cost in costs])
    print("One service runs; one container answers for all others with its metrics page.")


def _row(name: str, figures: list[float]) -> None:
    columns = "".join(f"{figure:12.3g}" if figure < 1000 else f"{figure:12.0f}" for figure in figures)
    print(f"{name:38}{columns}{figures[-1] / figures[0]:9.2f}")


if __name__ == "__main__":
    sys.exit(main())

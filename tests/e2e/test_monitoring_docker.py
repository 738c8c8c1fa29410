"""A stack with monitoring on a real engine: failures appear in metrics, raise alerts, notify, and resolve.

The tests share one stack and run in file order; each leaves it healthy.
"""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from testbed.images.recipes import PYTHON
from tests.artifacts.rule_files import RULE_FILES, rules_of
from tests.dashboard_queries import queries
from tests.e2e import watched as watched_stack
from tests.e2e.full_stack import timed
from tests.e2e.monitored_stack import (
    FRONTEND,
    SERVICES,
    MonitoredStack,
    engine_address,
    is_watcher,
    memory_mib,
    monitored_stack,
)
from tests.e2e.watched import (
    BURN_RATE_ALERTS,
    BUSINESS,
    POST_COUNTER,
    RARE_SERIES,
    REQUESTS,
    THRESHOLDS,
    running_receiver,
)
from tests.engine import docker_engine
from tests.engine.docker_engine import docker
from tests.engine.waiting import until

UNUSED_RULE_FILES = {"archive.yml", "backup.yml", "tenants.yml", "kubernetes.yml", "cloudnativepg.yml"}
"""Rules that no Docker stack loads, because no exporter there reports the metrics."""

UNUSED_SERIES = {
    "database:backup_age:seconds": "no backup runs",
    "pti_isolation_audit_findings": "no audit runs",
    "cnpg_pg_replication_streaming_replicas": "PostgreSQL is one server here",
    "kube_pod_labels": "there is no cluster",
    "kubelet_volume_stats_available_bytes": "there is no kubelet",
    "kubelet_volume_stats_capacity_bytes": "there is no kubelet",
}
EMPTY_PANELS = {
    ("pti-infrastructure", 17): "no backup runs",
    ("pti-infrastructure", 21): "no audit runs",
}
"""Panels with a query that returns nothing here."""


Watched = watched_stack.Watched[MonitoredStack]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Create the stack and wait until no alert fires; remove it with its data after the module's tests."""
    with (
        running_receiver(engine_address()) as (receiver, address),
        monitored_stack(tmp_path_factory.mktemp("watched"), address) as stack,
    ):
        with timed("up from nothing"):
            stack.up().succeeded()
        found = Watched(stack, stack.platform(), receiver)
        found.wait_until_calm()
        yield found


def test_every_target_is_up(watched: Watched) -> None:
    up = {(one["metric"]["job"], one["metric"]["workload"]): one["value"][1] for one in watched.stack.query("up")}
    stores = {(name, name) for name in ("postgres", "redis", "kafka", "kong", "nginx", "node")}
    own = {("prometheus", "prometheus"), ("alertmanager", "alertmanager")}
    probed = {("certificate", "nginx"), ("frontend", FRONTEND)}
    assert up == dict.fromkeys({*(("service", name) for name in SERVICES), *stores, *own, *probed}, "1")
    seen = watched.stack.query("probe_success")
    assert {(one["metric"]["job"], one["metric"]["workload"]) for one in seen if one["value"][1] == "1"} == probed
    for name in ("pg_up", "redis_up", "nginx_up", "kafka_brokers"):
        assert watched.stack.value(name) == 1, name


def test_the_watchdog_notification_arrives(watched: Watched) -> None:
    watched.wait_for_heartbeat()


def test_traffic_appears_in_counters_latencies_and_business_metrics(watched: Watched) -> None:
    watched.produce_business_metrics()
    until("everything is counted", lambda: {name: watched.stack.value(f"sum({name})") for name in BUSINESS} == BUSINESS)
    labels = ("http_route", "http_response_status_code")
    series = watched.stack.query(POST_COUNTER)
    counts = {tuple(one["metric"][label] for label in labels): int(one["value"][1]) for one in series}
    assert counts.items() >= REQUESTS.items()
    assert [label for one in series for label in one["metric"] if "tenant" in label] == []


def test_the_reported_disk_is_the_engines(watched: Watched) -> None:
    usage = shutil.disk_usage(docker("info", "--format", "{{.DockerRootDir}}").strip())
    reported = until("the disk's usage is reported", lambda: watched.stack.value("max(volume:disk_used:ratio)"))
    assert reported == pytest.approx(1 - usage.free / usage.total, abs=0.02)


def test_the_reported_expiry_is_that_of_the_served_certificate(watched: Watched) -> None:
    platform = watched.platform
    with platform.connected(platform.api_host) as encrypted:
        shown = encrypted.getpeercert() or {}
    assert watched.stack.value("probe_ssl_earliest_cert_expiry") == ssl.cert_time_to_seconds(str(shown["notAfter"]))


def test_every_panel_shows_data(watched: Watched) -> None:
    watched.check_panels_have_data(EMPTY_PANELS.keys())


def test_every_series_in_the_rules_exists(watched: Watched) -> None:
    rules = [rule for path in RULE_FILES if path.name not in UNUSED_RULE_FILES for rule in rules_of(path)]
    assert rules
    read = {name for rule in rules for name in watched.stack.series_read(rule["expr"])}
    there = {*watched.stack.ask_prometheus("label/__name__/values")}
    assert read - there - RARE_SERIES == UNUSED_SERIES.keys() & read
    failing = [
        one["name"]
        for group in watched.stack.ask_prometheus("rules")["groups"]
        for one in group["rules"]
        if one["health"] != "ok"
    ]
    assert failing == []


def test_grafana_serves_the_dashboards_with_the_password(watched: Watched) -> None:
    password = watched.stack.outputs().credentials.grafana
    found = {one["uid"] for one in watched.stack.ask_grafana("/api/search", password)}
    assert found == {query.dashboard for query in queries()}
    board = watched.stack.ask_grafana("/api/dashboards/uid/pti-services-health", password)
    assert board["dashboard"]["title"] == "Services Health"
    watched.check_grafana_proxy(password)
    with pytest.raises(AssertionError, match="401"):
        watched.stack.ask_grafana("/api/search", "guessed")


def test_a_stopped_service_and_front_end_raise_alerts(watched: Watched) -> None:
    watched.wait_until_calm()
    with _stopped(watched, "user"), _stopped(watched, FRONTEND):
        watched.wait_for_alerts(("ServiceDown", "user"), ("ServiceDown", FRONTEND))
        assert watched.receiver.firing["ServiceDown", "user"]["annotations"]["runbook_url"].endswith("#servicedown")
        # A receiver that is notified of the cause isn't notified of its consequences.
        until("the consequence fires", lambda: watched.stack.alerts().get(("TargetDown", "user")) == "firing")
        assert ("TargetDown", "user") not in watched.receiver.notified
        # The front end's exporter still answers.
        assert ("TargetDown", FRONTEND) not in watched.stack.alerts()
    watched.wait_until_resolved()


def test_a_slow_and_a_failing_service_raise_alerts(watched: Watched) -> None:
    watched.wait_until_calm()
    slow, failing = {("LatencyHigh", "rdv")}, {("ErrorRateHigh", "user"), ("AvailabilityBurnFast", "user")}
    with watched.load("GET", "/api/rdv/faults/slow?seconds=4"), watched.load("GET", "/api/user/faults/error"):
        watched.wait_for_alerts(*slow, *failing, also_allowed=frozenset(BURN_RATE_ALERTS))
    watched.wait_until_resolved()
    assert {(name, of) for name, of in watched.receiver.notified if of == "rdv"} == slow


@pytest.mark.parametrize(("workload", "alert"), [("redis", "RedisDown"), ("postgres", "PostgresDown")])
def test_a_stopped_store_raises_alerts(watched: Watched, workload: str, alert: str) -> None:
    watched.wait_until_calm()
    with _stopped(watched, workload):
        watched.wait_for_alerts((alert, workload))
    watched.wait_until_resolved()


def test_an_oom_kill_raises_an_alert(watched: Watched) -> None:
    watched.wait_until_calm()
    limits = ("--memory", "32m", "--memory-swap", "32m")
    command = ("python", "-c", "bytearray(200 << 20)")
    docker("run", "--rm", "--name", f"{watched.stack.name}-greedy", *limits, PYTHON, *command, check=False)
    watched.wait_for_alerts(("MachineOutOfMemory", "node"))
    watched.wait_until_resolved()


def test_a_second_run_changes_nothing(watched: Watched) -> None:
    watched.stack.preview("--expect-no-changes").succeeded()


def test_a_full_disk_and_an_expiring_certificate_raise_alerts(watched: Watched) -> None:
    watched.wait_until_calm()
    used = until("the disk's usage is reported", lambda: watched.stack.value("max(volume:disk_used:ratio)"))
    # The certificate was just issued for a year.
    _limits(watched, diskPercent=round(100 * used - 1, 1), certificateDays=365)
    # With the shortened window, disk writes by other work would raise the rate.
    watched.wait_for_alerts(
        ("DiskFilling", ""), ("CertificateExpiresSoon", "nginx"), also_allowed=frozenset({"DiskFillsWithinADay"})
    )
    _limits(watched)
    watched.wait_until_resolved()


def test_monitoring_stays_within_its_memory(watched: Watched) -> None:
    used = memory_mib(watched.stack.name)
    own = {name: size for name, size in used.items() if is_watcher(name)}
    series = watched.stack.value("prometheus_tsdb_head_series")
    print(", ".join(f"{name} {size:.0f} MiB" for name, size in sorted(own.items())), f"; {series:.0f} series")
    assert len(own) == 9
    # Grafana is a stand-in here, so its memory use isn't meaningful.
    assert sum(size for name, size in own.items() if name != "grafana") < 512


def _limits(watched: Watched, **changed: float) -> None:
    """Change the stack's limits for the duration of the context; only Prometheus is replaced, and it keeps its data."""
    watched.stack.configure({"monitoring": {"thresholds": {**THRESHOLDS, **changed}}})
    assert watched.stack.up().succeeded().replaced == {"prometheus", "prometheus-rules"}


@contextmanager
def _stopped(watched: Watched, workload: str) -> Iterator[None]:
    """Stop a workload's container for the duration of the context."""
    container = str(watched.stack.container(workload)["Id"])
    docker("stop", "--time", "5", container)
    try:
        yield
    finally:
        docker("start", container)
        until("it has recovered", lambda: docker_engine.workloads(watched.stack.name).get(workload) == "healthy")

"""Monitoring of the prod stack on a real node: all targets are up, failures raise alerts, and alerts resolve.

The tests share one stack and run in file order; each leaves it healthy. The next module's first `up` restores the real
times.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from settings.catalog import FRONTENDS, SERVICES
from settings.monitoring import ThresholdsSettings
from testbed.cluster import access, volumes
from tests.e2e.counted import counted
from tests.e2e.full_stack import timed
from tests.e2e.kubernetes import configuration
from tests.e2e.kubernetes.monitored import LOOKBACK_S, Forwarded, may, monitored, rights
from tests.e2e.kubernetes.stack import NAMESPACE, ClusterStack
from tests.e2e.watched import (
    BURN_RATE_ALERTS,
    BUSINESS,
    GRAFANA_PROXY_PATH,
    POST_COUNTER,
    RARE_SERIES,
    REQUESTS,
    Watched,
)
from tests.engine.waiting import until
from tests.failures import FailureRecord

STORES = (
    *("postgres", "redis", "kafka", "kong", "nginx", "prometheus", "alertmanager", "kubelet"),
    "kube-state-metrics",
)
"""Scrape jobs that exist for one workload only, by its name."""

NODE_RIGHTS = {("list", "nodes"), ("watch", "nodes"), ("get", "nodes/metrics")}
DENIED_RIGHTS = {
    ("list", "secrets"),
    ("list", "pods"),
    ("list", "configmaps"),
    ("get", "nodes/proxy"),
    ("delete", "nodes"),
    ("create", "pods/exec"),
}
NAMESPACE_RIGHTS = {
    (verb, resource)
    for verb in ("list", "watch")
    for resource in (
        *("pods", "persistentvolumeclaims", "deployments", "statefulsets", "horizontalpodautoscalers", "jobs"),
    )
}
"""Permissions of kube-state-metrics."""

FAILURE_SERIES = {
    "kube_job_failed",
    "kube_pod_status_unschedulable",
    "kube_pod_container_status_waiting_reason",
    "kube_pod_container_status_last_terminated_reason",
    "kube_horizontalpodautoscaler_spec_min_replicas",
    "kube_horizontalpodautoscaler_spec_max_replicas",
    "kube_horizontalpodautoscaler_status_current_replicas",
    "kube_horizontalpodautoscaler_status_condition",
}
"""Series of kube-state-metrics that only exist while something waits, fails or is autoscaled."""

UNUSED_SERIES = {
    "node_filesystem_avail_bytes": "the nodes belong to another operator",
    "node_filesystem_size_bytes": "the nodes belong to another operator",
    "node_vmstat_oom_kill": "the nodes belong to another operator",
    "cnpg_pg_replication_streaming_replicas": "PostgreSQL is one server here",
    "database:backup_age:seconds": "no backup runs",
    "pti_isolation_audit_findings": "no audit runs",
}
EMPTY_PANELS = {
    ("pti-infrastructure", 17): "no backup runs",
    ("pti-infrastructure", 21): "no audit runs",
}
"""Panels with a query that returns nothing here."""

FAST_DISK_ALERTS = frozenset({"DiskFillsWithinADay"})
"""Alerts for a volume that fills as fast as in a test."""

DISK_LIMIT = ThresholdsSettings().disk_percent / 100
"""Usage above which a volume counts as filling."""

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def watched(stack: ClusterStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched[Forwarded]]:
    """The stack without firing alerts, and the receiver of its notifications."""
    if access.cluster_from_environment():
        pytest.skip("the pods of the cluster that PTI_TEST_KUBECONFIG names don't reach a program of this machine")
    with timed("monitoring's module"), monitored(stack, tmp_path_factory.mktemp("checkout")) as found:
        yield found


@pytest.mark.usefixtures("watched")
def test_prometheus_may_read_kubelet_metrics_and_nothing_else(stack: ClusterStack) -> None:
    assert rights(stack, "prometheus") - rights(stack, "default") == NODE_RIGHTS
    assert {one for one in NODE_RIGHTS | DENIED_RIGHTS if may(stack, "prometheus", one)} == NODE_RIGHTS


@pytest.mark.usefixtures("watched")
def test_kube_state_metrics_may_read_workloads_and_no_secrets(stack: ClusterStack) -> None:
    account = "kube-state-metrics"
    # The objects belong to several API groups; the permissions only name the resource.
    assert rights(stack, account) - rights(stack, "default") == NAMESPACE_RIGHTS
    refused = {("list", "secrets"), ("list", "configmaps"), ("list", "nodes"), ("delete", "pods"), ("get", "pods/log")}
    assert {one for one in refused if may(stack, account, one)} == set()


def test_kube_state_metrics_reports_the_namespace_by_workload(watched: Watched[Forwarded]) -> None:
    def workloads(series: str) -> set[str]:
        return {one["metric"].get("workload", "") for one in watched.stack.query(series)}

    deployments = {*workloads("kube_deployment_spec_replicas")}
    assert deployments >= {one.name for one in (*SERVICES, *FRONTENDS)} | {"kong", "nginx", "kube-state-metrics"}
    assert workloads("kube_statefulset_replicas") == {"postgres", "redis", "kafka", "prometheus", "alertmanager"}
    assert workloads("pod:workload:info") >= deployments | {"postgres", "databases"}
    assert "databases" in workloads("job:workload:info")
    assert workloads("kube_persistentvolumeclaim_status_phase") == {""}
    others = f"{{job='kube-state-metrics', namespace!='', namespace!='{NAMESPACE}'}}"
    assert watched.stack.query(others) == []


def test_the_kubelet_reports_the_usage_of_every_claim(watched: Watched[Forwarded], stack: ClusterStack) -> None:
    def of(series: str) -> dict[str, float]:
        found = watched.stack.query(f"{series}{{namespace='{NAMESPACE}'}}")
        return {one["metric"]["persistentvolumeclaim"]: float(one["value"][1]) for one in found}

    available, capacity = of("kubelet_volume_stats_available_bytes"), of("kubelet_volume_stats_capacity_bytes")
    assert available.keys() == capacity.keys() == configuration.CLAIMS
    # ext4's reserved blocks aren't available.
    assert volumes.SMALL_MIB * MIB // 2 < capacity[configuration.SMALL_CLAIM] < volumes.SMALL_MIB * MIB
    judged = {one["metric"]["volume"]: float(one["value"][1]) for one in watched.stack.query("volume:disk_used:ratio")}
    assert judged == pytest.approx(volumes.used_ratios(stack.cluster, NAMESPACE), abs=0.02)
    others = f"{{job='kubelet', instance!='', __name__!~'up|scrape_.+', namespace!='{NAMESPACE}'}}"
    assert watched.stack.query(others) == [], "of everything that a kubelet reports"


def test_the_watchdog_notification_arrives(watched: Watched[Forwarded]) -> None:
    watched.wait_for_heartbeat()


def test_traffic_appears_in_counters_latencies_and_business_metrics(watched: Watched[Forwarded]) -> None:
    def business() -> dict[str, float]:
        return {name: watched.stack.value(f"sum({name}{{workload='rdv'}})") or 0 for name in BUSINESS}

    before, requests_before = business(), _requests(watched)
    watched.produce_business_metrics()
    until("everything is counted", lambda: business() == {name: before[name] + more for name, more in BUSINESS.items()})
    until("every request", lambda: (_requests(watched) - requests_before).items() >= REQUESTS.items())
    timed_of = "sum(http_server_request_duration_seconds_{}{{workload='rdv', http_request_method='POST'}})"
    mean = watched.stack.value(f"{timed_of.format('sum')} / {timed_of.format('count')}")
    assert mean is not None
    assert 0 < mean < 30


def test_every_panel_shows_data(watched: Watched[Forwarded]) -> None:
    watched.check_panels_have_data(EMPTY_PANELS.keys())


def test_every_series_in_the_rules_exists(watched: Watched[Forwarded]) -> None:
    rules = [rule for group in watched.stack.ask_prometheus("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 50
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    read = {name for rule in rules for name in watched.stack.series_read(rule["query"])}
    there = {*watched.stack.ask_prometheus("label/__name__/values")}
    assert read - there - RARE_SERIES - FAILURE_SERIES == UNUSED_SERIES.keys() & read
    recorded = {rule["name"] for rule in rules if rule["type"] == "recording"}
    assert recorded - there == UNUSED_SERIES.keys() & recorded


def test_grafana_serves_the_dashboards_with_the_password(watched: Watched[Forwarded], stack: ClusterStack) -> None:
    password = stack.outputs().credentials.grafana
    assert password
    watched.check_grafana_proxy(password)
    with pytest.raises(AssertionError, match="401"):
        watched.stack.ask_grafana(GRAFANA_PROXY_PATH, "guessed", query="count(up)")


def test_a_filling_volume_raises_alerts(watched: Watched[Forwarded], stack: ClusterStack) -> None:
    watched.wait_until_calm()
    with _filled(stack) as fill:
        fill(DISK_LIMIT + (1 - DISK_LIMIT) / 4)
        watched.wait_for_alerts(("DiskFilling", ""), also_allowed=FAST_DISK_ALERTS)
        labels = watched.receiver.firing["DiskFilling", ""]["labels"]
        assert labels == {
            "alertname": "DiskFilling",
            "severity": "warning",
            "job": "kubelet",
            "namespace": NAMESPACE,
            "volume": configuration.SMALL_CLAIM,
        }
        fill(DISK_LIMIT + (1 - DISK_LIMIT) * 3 / 4)
        watched.wait_for_alerts(("DiskFilling", ""), ("DiskAlmostFull", ""), also_allowed=FAST_DISK_ALERTS)
        assert watched.receiver.firing["DiskAlmostFull", ""]["labels"]["volume"] == configuration.SMALL_CLAIM
    watched.wait_until_resolved()


def test_a_stopped_service_raises_alerts(watched: Watched[Forwarded], stack: ClusterStack) -> None:
    watched.wait_until_calm()
    with _scaled_to_zero(stack, "user"):
        # Prometheus scrapes the service's removed pods until the next name lookup: they are down, but for less than a
        # minute with the real times.
        watched.wait_for_alerts(("TargetMissing", "user"), also_allowed=frozenset({"ServiceDown"}))
    watched.wait_until_resolved()


def test_crashing_imageless_and_unschedulable_pods_raise_alerts(
    watched: Watched[Forwarded], stack: ClusterStack, failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "New pods of three services crash, lack an image, or can't be scheduled",
        on="Kubernetes",
        effect="nothing: the old pods keep serving; an alert names each cause",
    )
    tenant, served = uuid.uuid4(), ("user", "planning", "audit")
    watched.wait_until_calm()
    with counted(watched.platform, failure_record, "user") as load, failure_record.measure_recovery():
        with (
            _changed(stack, "user", "command", ["sh", "-c", "exit 1"]),
            _changed(stack, "planning", "image", "pti-calendar/reference-service:never-built"),
            _changed(stack, "audit", "resources", {"requests": {"cpu": "100"}}),
        ):
            # The old pods continue to run; Prometheus also scrapes a crashing pod.
            watched.wait_for_alerts(
                ("ContainerCrashLooping", "user"),
                ("ImagePullFailing", "planning"),
                ("PodUnschedulable", "audit"),
                also_allowed=frozenset({"TargetDown"}),
            )
            pod = watched.receiver.firing["ContainerCrashLooping", "user"]["labels"]["pod"]
            restarts = stack.kubectl("get", "pod", pod, "--output=jsonpath={.status.containerStatuses[0].restartCount}")
            assert restarts > "0"
            assert [watched.platform.book(tenant, service).status for service in served] == [201] * len(served)
        watched.wait_until_resolved()
    assert load.failures == []
    assert [len(watched.platform.listed(tenant, service).json) for service in served] == [1] * len(served)
    failure_record.set_lost("nothing")


def test_a_slow_service_raises_alerts(watched: Watched[Forwarded]) -> None:
    watched.wait_until_calm()
    with watched.load("GET", "/api/rdv/faults/slow?seconds=4"):
        watched.wait_for_alerts(("LatencyHigh", "rdv"))
    watched.wait_until_resolved()


def test_a_failing_service_raises_alerts(watched: Watched[Forwarded]) -> None:
    watched.wait_until_calm()
    with watched.load("GET", "/api/rdv/faults/error"):
        watched.wait_for_alerts(
            ("ErrorRateHigh", "rdv"), ("AvailabilityBurnFast", "rdv"), also_allowed=frozenset(BURN_RATE_ALERTS)
        )
    watched.wait_until_resolved()


def test_every_replica_is_a_healthy_target(watched: Watched[Forwarded]) -> None:
    # This must be the last check: by now, Prometheus no longer treats pods removed by the first update as current.
    def up() -> Counter[tuple[str, str, str]]:
        found = watched.stack.query("up")
        return Counter((one["metric"]["job"], one["metric"]["workload"], one["value"][1]) for one in found)

    expected = Counter({("service", one.name, "1") for one in SERVICES} | {(name, name, "1") for name in STORES})
    expected.update({("service", "rdv", "1"): 1, ("certificate", "nginx", "1"): 1})
    expected.update(("frontend", one.name, "1") for one in FRONTENDS)
    try:
        until("every target is up, and no other is left", lambda: up() == expected, LOOKBACK_S)
    except AssertionError as late:
        raise AssertionError(f"{late}: lacking {expected - up()}, too many {up() - expected}") from None
    values = {name: watched.stack.value(name) for name in ("pg_up", "redis_up", "nginx_up", "kafka_brokers")}
    assert values == {"pg_up": 1, "redis_up": 1, "nginx_up": 1, "kafka_brokers": 3}
    answering = watched.stack.query("probe_success{job='frontend'} == 1")
    assert {one["metric"]["workload"] for one in answering} == {one.name for one in FRONTENDS}


def _requests(watched: Watched[Forwarded]) -> Counter[tuple[str, str]]:
    """Map (route, status) to the POST requests that both instances of rdv have counted."""
    labels = ("http_route", "http_response_status_code")
    counted: Counter[tuple[str, str]] = Counter()
    for one in watched.stack.query(POST_COUNTER):
        counted[one["metric"][labels[0]], one["metric"][labels[1]]] += int(one["value"][1])
    return counted


@contextmanager
def _filled(stack: ClusterStack) -> Iterator[Callable[[float], None]]:
    """Fill the small PVC from its pod up to the given share; delete the file at the end."""
    inside = ("exec", "alertmanager-0", "--")
    file = "/alertmanager/filling"
    room_kib = int(stack.kubectl(*inside, "df", "-k", "/alertmanager").splitlines()[-1].split()[1])

    def fill(share: float) -> None:
        size = int(room_kib * share)
        stack.kubectl(*inside, "dd", "if=/dev/zero", f"of={file}", "bs=1024", f"count={size}", "conv=notrunc")

    try:
        yield fill
    finally:
        stack.kubectl(*inside, "rm", "-f", file)


@contextmanager
def _scaled_to_zero(stack: ClusterStack, workload: str) -> Iterator[None]:
    """Remove a workload's pods for the duration of the context."""
    stack.kubectl("scale", f"deployment/{workload}", "--replicas=0")
    try:
        yield
    finally:
        stack.kubectl("scale", f"deployment/{workload}", "--replicas=1")
        stack.kubectl("rollout", "status", f"deployment/{workload}", "--timeout=180s")


@contextmanager
def _changed(stack: ClusterStack, workload: str, field: str, value: object) -> Iterator[None]:
    """Roll out a Deployment whose new pod isn't ready, and roll it back at the end."""
    place = f"/spec/template/spec/containers/0/{field}"
    patch = json.dumps([{"op": "add", "path": place, "value": value}])
    stack.kubectl("patch", f"deployment/{workload}", "--type=json", f"--patch={patch}")
    try:
        yield
    finally:
        stack.kubectl("rollout", "undo", f"deployment/{workload}")
        stack.kubectl("rollout", "status", f"deployment/{workload}", "--timeout=180s")

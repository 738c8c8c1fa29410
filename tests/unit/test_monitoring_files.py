"""Prometheus' and Alertmanager's configuration, as pure functions make it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from components.monitoring import alertmanager, prometheus
from components.monitoring.alertmanager import INHIBITIONS
from components.monitoring.prometheus import Kubelets, Target
from settings.monitoring import Email, Receivers, Thresholds
from tests.unit.paths import ROOT

RDV = Target(job="service", workload="rdv", port=4002)
POSTGRES = Target(job="postgres", workload="postgres", host="postgres-exporter", port=9187)


def scrape(target: Target, replicas: str | None) -> dict[str, Any]:
    """The one scrape of a configuration with one target."""
    (found,) = prometheus.configuration([target], replicas)["scrape_configs"]
    assert isinstance(found, dict)
    return found


def labels(scraped: Mapping[str, Any]) -> dict[str, str]:
    """The labels that relabeling gives every target of a scrape."""
    return {step["target_label"]: step["replacement"] for step in scraped["relabel_configs"]}


# Prometheus


def test_on_docker_a_target_is_its_workloads_name() -> None:
    assert scrape(RDV, None)["static_configs"] == [{"targets": ["rdv:4002"]}]


def test_on_kubernetes_a_target_is_every_pod_behind_its_headless_name() -> None:
    (lookup,) = scrape(RDV, "{workload}-pods.pti.svc.cluster.example.")["dns_sd_configs"]
    assert (lookup["names"], lookup["type"], lookup["port"]) == (["rdv-pods.pti.svc.cluster.example."], "A", 4002)


@pytest.mark.parametrize("replicas", [None, "{workload}-pods.pti."])
def test_a_target_has_the_same_labels_wherever_it_runs(replicas: str | None) -> None:
    assert labels(scrape(RDV, replicas)) == {"job": "service", "workload": "rdv"}


def test_an_exporters_series_have_the_monitored_workloads_name() -> None:
    found = scrape(POSTGRES, None)
    assert found["static_configs"] == [{"targets": ["postgres-exporter:9187"]}]
    assert labels(found) == {"job": "postgres", "workload": "postgres"}


def test_a_target_may_have_another_metrics_path() -> None:
    assert scrape(RDV, None)["metrics_path"] == "/metrics"
    grafana = Target(job="grafana", workload="grafana", port=3030, path="/grafana/metrics")
    assert scrape(grafana, None)["metrics_path"] == "/grafana/metrics"


@pytest.mark.parametrize("replicas", [None, "{workload}-pods.pti."])
def test_a_target_may_have_query_parameters(replicas: str | None) -> None:
    told = {"module": "tls", "target": "nginx:8443"}
    certificate = Target(job="certificate", workload="nginx", host="looks", port=9115, path="/probe", parameters=told)
    assert scrape(certificate, replicas)["params"] == {"module": ["tls"], "target": ["nginx:8443"]}
    assert "params" not in scrape(RDV, replicas)


def test_a_duplicate_target_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="duplicate targets: service/rdv/rdv:4002"):
        prometheus.configuration([RDV, POSTGRES, RDV], None)


def test_two_exporters_of_one_workload_are_two_scrapes() -> None:
    nginx = [
        Target(job="nginx", workload="nginx", host=host, port=9113) for host in ("nginx-exporter", "nginx-certificate")
    ]
    scrapes = prometheus.configuration(nginx, None)["scrape_configs"]
    assert len({found["job_name"] for found in scrapes}) == 2


def test_alerts_are_sent_to_alertmanager_if_there_is_one() -> None:
    assert "alerting" not in prometheus.configuration([RDV], None)
    manager = Target(job="alertmanager", workload="alertmanager", port=9093)
    configured = prometheus.configuration([RDV], None, alertmanager=manager)
    assert configured["alerting"] == {"alertmanagers": [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]}


def test_only_volume_series_of_the_namespace_are_kept_from_kubelets() -> None:
    configured = prometheus.configuration([], "{workload}-pods.pti.", kubelets=Kubelets(namespace="pti"))
    (found,) = configured["scrape_configs"]
    (kept,) = found["metric_relabel_configs"]
    assert (kept["action"], kept["source_labels"]) == ("keep", ["__name__", "namespace"])
    pattern = re.compile(kept["regex"])
    assert pattern.fullmatch("kubelet_volume_stats_used_bytes;pti")
    assert not pattern.fullmatch("kubelet_volume_stats_used_bytes;other")
    assert not pattern.fullmatch("container_cpu_usage_seconds_total;pti")
    assert "insecure_skip_verify" not in found["tls_config"]


@pytest.mark.parametrize(("service", "workload"), [("user.public-0", "user"), ("client-pwa.public-12", "client-pwa")])
def test_kongs_series_of_a_public_path_count_for_its_workload(service: str, workload: str) -> None:
    configured = prometheus.configuration([Target(job="kong", workload="kong", port=8100)], None)
    (relabelling,) = configured["scrape_configs"][0]["metric_relabel_configs"]
    assert (relabelling["source_labels"], relabelling["target_label"]) == (["service"], "service")
    found = re.fullmatch(relabelling["regex"], service)
    assert found is not None
    assert found[1] == workload
    assert re.fullmatch(relabelling["regex"], workload) is None


def test_the_default_thresholds_equal_those_of_the_rule_tests() -> None:
    tested = yaml.safe_load((ROOT / "tests/artifacts/alerts/thresholds.yml").read_text())
    pairs = {("service", "rdv"): 1, ("kong", "kong"): 1}
    assert prometheus.thresholds_file(Thresholds(), pairs) == tested


def test_a_threshold_that_is_set_is_recorded() -> None:
    (recorded, _) = prometheus.thresholds_file(Thresholds(error_percent=1.0), {})["groups"]
    assert {"record": "pti:threshold:error_ratio", "expr": "vector(0.01)"} in recorded["rules"]


def test_each_workload_has_one_expected_series() -> None:
    pairs = prometheus.expected([RDV, POSTGRES, RDV], Kubelets(namespace="pti"))
    (_, expectations) = prometheus.thresholds_file(Thresholds(), pairs)["groups"]
    assert [tuple(rule["labels"].values()) for rule in expectations["rules"]] == [
        ("service", "rdv"),
        ("postgres", "postgres"),
        ("kubelet", "kubelet"),
    ]


def test_the_text_is_yaml_too() -> None:
    configured = prometheus.configuration([RDV], None)
    assert yaml.safe_load(prometheus.to_json(configured)) == configured


# Alertmanager

EMAIL = Email(
    to=("operations@example.com", "oncall@example.com"), sender="alerts@example.com", smarthost="smtp.example.com:587"
)


def receiver(receivers: Receivers, name: str) -> dict[str, Any]:
    """One receiver of the configuration."""
    (found,) = [one for one in alertmanager.configuration(receivers)["receivers"] if one["name"] == name]
    assert isinstance(found, dict)
    return found


def test_without_receivers_nobody_is_notified() -> None:
    assert receiver(Receivers(), "people") == {"name": "people"}
    assert receiver(Receivers(), "watchdog") == {"name": "watchdog"}


def test_every_receiver_is_notified_of_firing_and_resolved_alerts() -> None:
    people = receiver(Receivers(email=EMAIL, webhook=True), "people")
    (mail,), (hook,) = people["email_configs"], people["webhook_configs"]
    assert (mail["to"], mail["from"], mail["smarthost"]) == (
        "operations@example.com, oncall@example.com",
        "alerts@example.com",
        "smtp.example.com:587",
    )
    assert (mail["require_tls"], mail["send_resolved"]) == (True, True)
    assert hook == {"url_file": "/run/secrets/alertmanager/alertWebhookUrl", "send_resolved": True}


def test_a_mail_login_is_a_file() -> None:
    email = EMAIL.model_copy(update={"username": "alerts"})
    (mail,) = receiver(Receivers(email=email), "people")["email_configs"]
    assert (mail["auth_username"], mail["auth_password_file"]) == (
        "alerts",
        "/run/secrets/alertmanager/alertEmailPassword",
    )
    assert "auth_password" not in json.dumps(mail).replace("auth_password_file", "")


def test_the_watchdog_has_its_own_receiver() -> None:
    receivers = Receivers(email=EMAIL, watchdog=True)
    watchdog = receiver(receivers, "watchdog")
    assert watchdog["webhook_configs"] == [
        {"url_file": "/run/secrets/alertmanager/watchdogWebhookUrl", "send_resolved": False}
    ]


def test_alerts_are_grouped_by_name_and_workload() -> None:
    assert alertmanager.configuration(Receivers())["route"]["group_by"] == ["alertname", "workload"]


def test_a_url_has_no_trailing_slash() -> None:
    assert alertmanager.grafana_link_template("https://example.com/") == alertmanager.grafana_link_template(
        "https://example.com"
    )


def test_a_port_forward_command_comes_before_the_url() -> None:
    text = alertmanager.grafana_link_template("http://127.0.0.1:3030", "kubectl port-forward service/grafana 3030")
    assert "}}kubectl port-forward service/grafana 3030, then http://127.0.0.1:3030{{" in text


Alert = dict[str, str]


def alert(name: str, severity: str, **more: str) -> Alert:
    """An alert's labels."""
    return {"alertname": name, "severity": severity, **more}


def holds_back(source: Alert, target: Alert) -> bool:
    """Whether one of the inhibitions keeps the target back while the source fires, by Alertmanager's rules."""
    return any(
        all(matches(matcher, source) for matcher in rule["source_matchers"])
        and all(matches(matcher, target) for matcher in rule["target_matchers"])
        and all(source.get(label, "") == target.get(label, "") for label in rule["equal"])
        for rule in INHIBITIONS
    )


def matches(matcher: str, labels: Alert) -> bool:
    """`name="value"` or `name=~"pattern"`; a label that isn't there is empty."""
    parts = re.fullmatch(r'(\w+)(=~?)"(.*)"', matcher)
    assert parts, matcher
    name, operator, wanted = parts.groups()
    value = labels.get(name, "")
    return value == wanted if operator == "=" else re.fullmatch(wanted, value) is not None


DOWN = alert("ServiceDown", "critical", job="service", workload="rdv")
MISSING = alert("TargetMissing", "critical", job="service", workload="rdv")
FULL = alert("DiskAlmostFull", "critical", job="kubelet", namespace="pti", volume="postgres-data")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (DOWN, alert("LatencyHigh", "warning", workload="rdv")),
        (DOWN, alert("ErrorRateHigh", "critical", workload="rdv")),
        (DOWN, alert("GatewayErrorRateHigh", "critical", workload="rdv")),
        (DOWN, alert("TargetDown", "warning", workload="rdv", instance="rdv:4002")),
        (MISSING, alert("AvailabilityBurnFast", "critical", workload="rdv")),
        (
            alert("PostgresDown", "critical", workload="postgres"),
            alert("PostgresConnectionsNearLimit", "warning", workload="postgres"),
        ),
        (
            alert("AvailabilityBurnFast", "critical", workload="rdv"),
            alert("AvailabilityBurnMedium", "critical", workload="rdv"),
        ),
        (FULL, {**FULL, "alertname": "DiskFilling", "severity": "warning"}),
    ],
)
def test_consequences_of_a_worse_alert_are_inhibited(source: Alert, target: Alert) -> None:
    assert holds_back(source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (DOWN, alert("LatencyHigh", "warning", workload="user")),
        (DOWN, DOWN),
        (alert("LatencyHigh", "warning", workload="rdv"), DOWN),
        (alert("BackupMissing", "critical", database="pti_rdv"), alert("DiskFilling", "warning", volume="data")),
        (FULL, {**FULL, "alertname": "DiskFilling", "severity": "warning", "volume": "kafka-data"}),
        (alert("CertificateExpired", "critical", workload="nginx"), alert("Watchdog", "info")),
    ],
)
def test_unrelated_alerts_are_not_inhibited(source: Alert, target: Alert) -> None:
    assert not holds_back(source, target)

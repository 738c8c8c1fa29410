"""Prometheus' and Alertmanager's own tools accept the generated configuration, and follow its routes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.assets import asset
from components.monitoring import alertmanager, prometheus
from components.monitoring.prometheus import Kubelets, Target
from settings.backups import BackupsSettings
from settings.monitoring import EmailSettings, ReceiversSettings, ThresholdsSettings
from tests.artifacts.prometheus_tools import assert_accepted, run

TARGETS = [
    Target(job="service", workload="rdv", port=4002),
    Target(job="postgres", workload="postgres", host="postgres-exporter", port=9187),
    Target(job="kong", workload="kong", port=8100),
    Target(
        job="certificate",
        workload="nginx",
        host="probe-exporter",
        port=9115,
        path="/probe",
        parameters={"module": "certificate", "target": "nginx:8443"},
    ),
    Target(
        job="frontend",
        workload="client-pwa",
        host="probe-exporter",
        port=9115,
        path="/probe",
        parameters={"module": "frontend", "target": "http://client-pwa:3000/health"},
    ),
]
RECEIVERS = {
    "none": ReceiversSettings(),
    "all": ReceiversSettings(
        email=EmailSettings(
            to=("operations@pti-calendar.fr",),
            sender="alerts@pti-calendar.fr",
            smarthost="smtp.example.com:587",
            username="alerts",
        ),
        webhook=True,
        heartbeat=True,
    ),
}


@pytest.mark.parametrize(
    "replicas", [None, "{workload}-pods.pti-calendar.svc.cluster.local."], ids=["docker", "kubernetes"]
)
@pytest.mark.parametrize("kubelets", [None, Kubelets(namespace="pti-calendar")], ids=["no-kubelet", "kubelet"])
def test_promtool_accepts_the_configuration(tmp_path: Path, replicas: str | None, kubelets: Kubelets | None) -> None:
    configured = prometheus.configuration(
        TARGETS,
        replicas,
        alertmanager=Target(job="alertmanager", workload="alertmanager", port=9093),
        kubelets=kubelets,
    )
    path = tmp_path / "prometheus.yml"
    path.write_text(prometheus.to_json(configured))
    assert_accepted("promtool", "check", "config", "--syntax-only", path)


def test_promtool_accepts_the_thresholds(tmp_path: Path) -> None:
    recorded = prometheus.thresholds_file(ThresholdsSettings(), BackupsSettings(), prometheus.expected_targets(TARGETS))
    path = tmp_path / "thresholds.yml"
    path.write_text(prometheus.to_json(recorded))
    assert_accepted("promtool", "check", "rules", "--lint=all", "--lint-fatal", path)


@pytest.fixture(params=RECEIVERS, name="configured")
def configuration_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write Alertmanager's configuration file, with its templates beside it."""
    configuration = alertmanager.configuration(RECEIVERS[request.param])
    configuration["templates"] = ["*.tmpl"]
    (tmp_path / "messages.tmpl").write_text(asset("alertmanager/messages.tmpl"))
    (tmp_path / "addresses.tmpl").write_text(alertmanager.grafana_link_template("https://grafana.example.com/"))
    path = tmp_path / "alertmanager.yml"
    path.write_text(json.dumps(configuration))
    return path


def test_amtool_accepts_the_configuration(configured: Path) -> None:
    assert_accepted("amtool", "check-config", configured)


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=Watchdog", "severity=info"), "watchdog"),
        (("alertname=ServiceDown", "severity=critical", "workload=rdv"), "on-call"),
        (("alertname=LatencyHigh", "severity=warning", "workload=rdv"), "on-call"),
        (("alertname=SomethingToKnow", "severity=info"), "none"),
        (("alertname=Unlabelled",), "on-call"),
    ],
)
def test_an_alert_goes_to_its_receiver(configured: Path, labels: tuple[str, ...], receiver: str) -> None:
    outcome = run("amtool", "config", "routes", "test", f"--config.file={configured}", *labels)
    assert (outcome.returncode, outcome.stdout.strip()) == (0, receiver), outcome.stderr


def message(configured: Path, template: str) -> str:
    """Return a receiver's message for amtool's own sample: one firing and one resolved alert."""
    outcome = run(
        "amtool",
        *("template", "render", f"--template.glob={configured.parent}/*.tmpl"),
        *(f"--template.data={configured.parent}/data.json", f'--template.text={{{{ template "{template}" . }}}}'),
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_a_notification_has_the_problem_and_the_links(configured: Path) -> None:
    alert = {
        "startsAt": "2026-11-24T03:12:00Z",
        "labels": {"alertname": "ServiceDown", "workload": "rdv"},
        "annotations": {
            "summary": "rdv is down",
            "description": "Nothing answers.",
            "runbook_url": "https://example.com/alerts#servicedown",
            "dashboard": "/d/pti-services-health?viewPanel=1",
        },
    }
    over = {**alert, "status": "resolved", "annotations": {"summary": "user is down"}}
    data = {
        "status": "firing",
        "alerts": [{**alert, "status": "firing"}, over],
        "groupLabels": {"alertname": "ServiceDown"},
        "commonLabels": {"severity": "critical"},
        "commonAnnotations": {},
    }
    (configured.parent / "data.json").write_text(json.dumps(data))
    assert message(configured, "pti.subject") == "[critical] ServiceDown, 2 alerts"
    text = message(configured, "pti.text")
    assert "rdv is down\n\nNothing answers.\nSince 2026-11-24 03:12 UTC.\n" in text
    assert "What to do: https://example.com/alerts#servicedown\n" in text
    assert "Look: https://grafana.example.com/d/pti-services-health?viewPanel=1\n" in text
    assert "Resolved: user is down\n" in text

"""Prometheus' configuration, from the list of targets. Pure functions without resources.

The result is JSON, which is also YAML.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from settings.backups import BackupsSettings
from settings.monitoring import ThresholdsSettings

RULES_DIRECTORY = "/etc/prometheus/rules"
"""Mount point of `assets/prometheus/rules/` and of the generated file of thresholds."""

SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A scrape target."""

    job: str
    workload: str
    """The monitored workload: the value of the label `workload`, and of `service` in Kong's metrics."""

    port: int
    path: str = "/metrics"
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the request, for an exporter that probes a given target."""

    host: str | None = None
    """The workload that is scraped, if it is a different one: `postgres-exporter` for `postgres`."""

    instances: int = 1
    """Expected number of instances; more than one only if a rule counts them."""

    is_self: bool = False
    """Whether the target is Prometheus itself, which is scraped on loopback."""

    @property
    def scraped_workload(self) -> str:
        """Return the workload whose containers are scraped."""
        return self.host or self.workload


@dataclass(frozen=True, kw_only=True)
class Kubelets:
    """The kubelet of every node, which reports the usage of each persistent volume claim.

    Prometheus' service account must be allowed to `list` and `watch` nodes, and to `get` `nodes/metrics`.
    """

    namespace: str
    """Only claims of this namespace are kept."""


def configuration(
    targets: Sequence[Target],
    replicas: str | None,
    *,
    alertmanager: Target | None = None,
    kubelets: Kubelets | None = None,
    interval_s: int = 15,
) -> dict[str, Any]:
    """Return the content of `prometheus.yml`.

    Args:
        targets: each is scraped.
        replicas: `Addressing.replicas`: the DNS name of all replicas of a workload, or None for its own name.
        alertmanager: address to which alerts are sent.
        kubelets: whether and how they are scraped.
        interval_s: seconds between two scrapes.

    Raises:
        ValueError: a target occurs twice, which would count its requests twice.
    """
    names = [_name(target) for target in targets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"duplicate targets: {', '.join(twice)}")
    scrapes = [_scrape(target, replicas) for target in targets]
    found: dict[str, Any] = {
        "global": {"scrape_interval": f"{interval_s}s", "evaluation_interval": f"{interval_s}s"},
        "rule_files": [f"{RULES_DIRECTORY}/*.yml"],
        "scrape_configs": [*scrapes, *([_scrape_kubelets(kubelets)] if kubelets else [])],
    }
    if alertmanager:
        found["alerting"] = {"alertmanagers": [_discovery(alertmanager, replicas)]}
    return found


def thresholds_file(
    thresholds: ThresholdsSettings, backups: BackupsSettings, expected: Mapping[tuple[str, str], int]
) -> dict[str, Any]:
    """Return the rule file that records the thresholds, and the expected number of instances of each (job,
    workload)."""
    values = _threshold_values(thresholds, backups)
    recorded = [{"record": name, "expr": f"vector({value!r})"} for name, value in values.items()]
    expectations = [
        {"record": "pti:expected", "expr": f"vector({number})", "labels": {"job": job, "workload": workload}}
        for (job, workload), number in expected.items()
    ]
    return {"groups": [{"name": "thresholds", "rules": recorded}, {"name": "expectations", "rules": expectations}]}


def _threshold_values(thresholds: ThresholdsSettings, backups: BackupsSettings) -> dict[str, float]:
    """Return the series that the rules in `assets/prometheus/rules/` use, in their units."""
    return {
        "pti:threshold:latency_p95_seconds": thresholds.latency_ms / 1000,
        "pti:threshold:error_ratio": thresholds.error_percent / 100,
        "pti:threshold:traffic_floor_rps": thresholds.traffic_floor_rps,
        "pti:threshold:disk_used_ratio": thresholds.disk_percent / 100,
        "pti:threshold:certificate_expiry_seconds": thresholds.certificate_days * 24 * 3600,
        "pti:threshold:backup_age_seconds": backups.max_age_hours * 3600,
        "pti:threshold:restore_drill_age_seconds": backups.drill.max_age_hours * 3600,
        "pti:threshold:base_age_seconds": backups.point_in_time.max_age_hours * 3600,
        "pti:threshold:kept_wal_bytes": backups.point_in_time.max_wal_gib * 1024**3,
        "pti:threshold:offsite_age_seconds": backups.offsite.max_age_hours * 3600,
        "pti:threshold:tenant_audit_age_seconds": thresholds.tenant_audit_hours * 3600,
        "pti:objective:availability": thresholds.availability_percent / 100,
    }


def expected_targets(targets: Iterable[Target], kubelets: Kubelets | None = None) -> dict[tuple[str, str], int]:
    """Return the expected targets: each (job, workload) with its number of instances."""
    numbers = {(str(target.job), target.workload): target.instances for target in targets}
    return {**numbers, ("kubelet", "kubelet"): 1} if kubelets else numbers


def to_json(content: dict[str, Any]) -> str:
    """Return the text of a configuration or rule file."""
    return json.dumps(content, indent=2) + "\n"


def _name(target: Target) -> str:
    return f"{target.job}/{target.workload}/{target.scraped_workload}:{target.port}"


def _scrape(target: Target, replicas: str | None) -> dict[str, Any]:
    return {
        "job_name": _name(target),
        "metrics_path": target.path,
        **({"params": {name: [value] for name, value in target.parameters.items()}} if target.parameters else {}),
        **_discovery(target, replicas),
        "relabel_configs": _labels(target.job, target.workload),
        **({"metric_relabel_configs": relabelled} if (relabelled := _METRIC_RELABELING.get(target.job)) else {}),
    }


_KONG_SERVICE_RELABELING: Mapping[str, Any] = {
    "source_labels": ["service"],
    "regex": r"([^.]+)\..+",
    "target_label": "service",
}
"""A public path is a separate Kong service, `user.public-0`. Rules and dashboards use the workload's name, `user`.

The label `route` distinguishes the two."""

_KUBE_STATE_WORKLOAD_LABELS = (
    "container",
    "deployment",
    "statefulset",
    "horizontalpodautoscaler",
    "label_app_kubernetes_io_name",
    "label_cnpg_io_cluster",
)
"""Labels of kube-state-metrics whose value is the name of a workload."""

_KUBE_STATE_RELABELING: Sequence[Mapping[str, Any]] = [
    # A series has the workload of its object instead of kube-state-metrics; claims and unlabelled pods have none.
    {"source_labels": ["__name__"], "regex": "kube_.+", "target_label": "workload", "replacement": ""},
    *(
        {"source_labels": ["__name__", label], "regex": "kube_.+;(.+)", "target_label": "workload"}
        for label in _KUBE_STATE_WORKLOAD_LABELS
    ),
]

_METRIC_RELABELING: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "kong": [_KONG_SERVICE_RELABELING],
    "kube-state-metrics": _KUBE_STATE_RELABELING,
}
"""Relabelling for each series of a job."""


def _discovery(target: Target, replicas: str | None) -> dict[str, Any]:
    if target.is_self:
        return {"static_configs": [{"targets": [f"localhost:{target.port}"]}]}
    if replicas is None:
        return {"static_configs": [{"targets": [f"{target.scraped_workload}:{target.port}"]}]}
    name = replicas.format(workload=target.scraped_workload)
    return {"dns_sd_configs": [{"names": [name], "type": "A", "port": target.port, "refresh_interval": "15s"}]}


def _labels(job: str, workload: str) -> list[dict[str, Any]]:
    return [{"target_label": "job", "replacement": job}, {"target_label": "workload", "replacement": workload}]


def _scrape_kubelets(kubelets: Kubelets) -> dict[str, Any]:
    ours = {"source_labels": ["__name__", "namespace"], "regex": f"kubelet_volume_stats_.+;{kubelets.namespace}"}
    return {
        "job_name": "kubelet",
        "scheme": "https",
        "authorization": {"credentials_file": f"{SERVICE_ACCOUNT_DIRECTORY}/token"},
        "tls_config": {"ca_file": f"{SERVICE_ACCOUNT_DIRECTORY}/ca.crt"},
        "kubernetes_sd_configs": [{"role": "node"}],
        "relabel_configs": _labels("kubelet", "kubelet"),
        "metric_relabel_configs": [{**ours, "action": "keep"}],
    }

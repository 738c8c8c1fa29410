"""The monitoring stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from backends.base import Backend, DeployOptions
from capabilities import Capability, offers
from components.credentials import Credentials
from components.monitoring import exporters, probes, servers
from components.monitoring.prometheus import Kubelets, Target
from components.stores import Store
from settings.backups import BackupsSettings
from settings.monitoring import MonitoringSettings
from workloads import Endpoint, LongRunning, Workload

TYPE = "pti-calendar:index:Monitoring"


@dataclass(frozen=True, kw_only=True)
class Nginx:
    """nginx, if it is the edge."""

    status: Endpoint
    """Endpoint of nginx' metrics."""

    tls: Endpoint
    """HTTPS endpoint, which serves the certificate."""

    host: str
    """A host name of the certificate; for an unknown name, nginx serves no certificate."""


@dataclass(frozen=True, kw_only=True)
class MonitoringArgs:
    """Arguments of the monitoring stack: its settings and targets."""

    settings: MonitoringSettings
    backups: BackupsSettings
    backend: Backend
    credentials: Credentials
    stores: Sequence[Store[Any]]
    nginx: Nginx | None
    """nginx at the edge; None if the stack doesn't run it."""


class Monitoring(pulumi.ComponentResource):
    """Prometheus, Alertmanager and Grafana, and the stores' exporters.

    Deployed last: it monitors every workload deployed before it that declares metrics or health.
    """

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        settings, backend = args.settings, args.backend
        for workload in [*_exporters(args), servers.alertmanager(settings, args.credentials, backend)]:
            backend.deploy(workload, DeployOptions(parent=self))
        targets = [*_targets(backend.deployed), *_store_targets(args.stores)]
        kubelets = Kubelets(namespace=backend.addressing.namespace) if settings.prometheus.scrape_kubelets else None
        backend.deploy(
            servers.prometheus(settings, targets, kubelets, args.backups, backend), DeployOptions(parent=self)
        )
        backend.deploy(servers.grafana(settings, args.credentials, backend), DeployOptions(parent=self))
        self.register_outputs(
            {one.workload: str(one) for one in (servers.PROMETHEUS, servers.ALERTMANAGER, servers.GRAFANA_UI)}
        )


def _exporters(args: MonitoringArgs) -> list[Workload]:
    images = args.settings.exporters
    found = [one for store in args.stores if (one := store.exporter(images)) is not None]
    if args.nginx is not None:
        found.append(exporters.nginx_exporter(images.nginx, args.nginx.status))
    if offers(args.backend.kind, Capability.HOST_METRICS):
        found.append(exporters.node_exporter(images.node))
    if offers(args.backend.kind, Capability.DEPLOYED_OBJECTS):
        found.append(exporters.kube_state_metrics(images.kube_state, args.backend.addressing.namespace))
    if targets := _probe_targets(args):
        found.append(probes.blackbox_exporter(images.blackbox, targets))
    return found


def _probe_targets(args: MonitoringArgs) -> list[probes.ProbeTarget]:
    targets = [probes.certificate_probe(args.nginx.tls, args.nginx.host)] if args.nginx else []
    running = [one for one in args.backend.deployed if isinstance(one, LongRunning)]
    return targets + [probes.health_probe(one.name, one.health) for one in running if one.health]


def _targets(workloads: Sequence[Workload]) -> list[Target]:
    """Return every target with metrics, each once."""
    return [
        Target(
            job=metrics.job,
            workload=metrics.workload or workload.name,
            host=workload.name,
            port=metrics.port,
            path=metrics.path,
            parameters=metrics.parameters,
        )
        for workload in workloads
        if isinstance(workload, LongRunning)
        for metrics in workload.metrics
    ]


def _store_targets(stores: Sequence[Store[Any]]) -> list[Target]:
    """Return the servers of stores that report their own metrics."""
    return [
        Target(job=one.job, workload=one.endpoint.workload, port=one.endpoint.port, instances=one.instances)
        for one in (store.server_metrics for store in stores)
        if one is not None
    ]

"""Prometheus, Alertmanager and Grafana as workloads."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from backends.base import Backend
from components.assets import asset, assets
from components.credentials import Credentials
from components.exporter import NOBODY_UID
from components.monitoring import alertmanager as routing
from components.monitoring import prometheus as scraping
from components.monitoring.links import link
from settings.backups import BackupsSettings
from settings.credential import Credential
from settings.credentials import ALERT_EMAIL, ALERT_WEBHOOK, GRAFANA, HEARTBEAT_WEBHOOK
from settings.monitoring import MonitoringSettings, ReceiversSettings
from workloads import (
    INTERNET,
    RECOVERY_S,
    Endpoint,
    ExternalEndpoint,
    FileSet,
    HttpGet,
    Liveness,
    Metrics,
    Port,
    Probe,
    Scratch,
    Service,
    StatefulService,
    Volume,
)

PROMETHEUS = Endpoint("prometheus", 9090)
OTLP_PATH = "/api/v1/otlp/v1/metrics"
ALERTMANAGER = Endpoint("alertmanager", 9093)
GRAFANA_UI = Endpoint("grafana", 3030)

PROMETHEUS_MOUNT, ALERTMANAGER_MOUNT, DATA_FOLDER = "/prometheus", "/alertmanager", "data"
"""Volumes, and the folder below each mount point that contains the data."""

DATA_FOLDER_SCRIPT = "below.sh"

RULES_BY_JOB = {
    "certificates.yml": "certificate",
    "kubernetes.yml": "kube-state-metrics",
    "cloudnativepg.yml": "cloudnativepg",
}
"""Rule files that are mounted only if a target of this job is scraped."""

RULES_BY_WORKLOAD = {
    "archive.yml": "archive",
    "backup.yml": "backup",
    "drill.yml": "restore-drill",
    "tenants.yml": "tenants",
}
"""Rule files that are mounted only if the stack has this workload."""

OFFSITE_RULES = "offsite.yml"


def alertmanager(settings: MonitoringSettings, credentials: Credentials, backend: Backend) -> StatefulService:
    """Return Alertmanager. Its volume contains the silences."""
    receivers = settings.receivers
    secrets = {one.key: credentials[one] for one in _receiver_credentials(receivers)}
    link_to_self = link(backend, ALERTMANAGER, settings.alertmanager.port, settings.alertmanager.url)
    grafana_link = link(backend, GRAFANA_UI, settings.grafana.port, settings.grafana.url)
    files = [
        FileSet(
            name="configuration",
            directory="/etc/alertmanager/config",
            files={
                "alertmanager.yml": scraping.to_json(routing.configuration(receivers)),
                DATA_FOLDER_SCRIPT: asset(f"volume/{DATA_FOLDER_SCRIPT}"),
            },
        ),
        FileSet(
            name="templates",
            directory=routing.TEMPLATES_DIRECTORY,
            files={
                **assets("alertmanager", "*.tmpl"),
                "addresses.tmpl": routing.grafana_link_template(grafana_link.url, grafana_link.port_forward_command),
            },
        ),
    ]
    if secrets:
        files.append(FileSet(name="secrets", directory=routing.SECRETS_DIRECTORY, files=secrets, secret=True))
    calls = [ExternalEndpoint(*_host_and_port(receivers.email.smarthost))] if receivers.email.smarthost else []
    return StatefulService(
        name=ALERTMANAGER.workload,
        image=settings.alertmanager.image,
        user=NOBODY_UID,
        command=_in_data_folder(ALERTMANAGER_MOUNT, "/etc/alertmanager/config", "/bin/alertmanager"),
        arguments=(
            "--config.file=/etc/alertmanager/config/alertmanager.yml",
            f"--storage.path={ALERTMANAGER_MOUNT}/{DATA_FOLDER}",
            # One replica has no peers to gossip with.
            "--cluster.listen-address=",
            *_url_flags(link_to_self.url),
        ),
        file_sets=tuple(files),
        ports=(Port(name="http", number=ALERTMANAGER.port, publish=settings.alertmanager.port),),
        volumes=(Volume(name="alertmanager-data", mount=ALERTMANAGER_MOUNT),),
        memory_mib=96,
        readiness=Probe(check=HttpGet(port=ALERTMANAGER.port, path="/-/ready")),
        liveness=Liveness(check=HttpGet(port=ALERTMANAGER.port, path="/-/healthy"), startup_s=RECOVERY_S),
        connects_to=(*calls, *([INTERNET] if receivers.webhook or receivers.heartbeat else [])),
        metrics=(Metrics(port=ALERTMANAGER.port, job="alertmanager"),),
    )


def prometheus(
    settings: MonitoringSettings,
    targets: Sequence[scraping.Target],
    kubelets: scraping.Kubelets | None,
    backups: BackupsSettings,
    backend: Backend,
) -> StatefulService:
    """Return Prometheus."""
    server = settings.prometheus
    link_to_self = link(backend, PROMETHEUS, server.port, server.url)
    self_target = scraping.Target(job="prometheus", workload=PROMETHEUS.workload, port=PROMETHEUS.port, is_self=True)
    alertmanager_target = scraping.Target(job="alertmanager", workload=ALERTMANAGER.workload, port=ALERTMANAGER.port)
    all_targets = [*targets, self_target]
    configuration = scraping.configuration(
        all_targets,
        backend.addressing.replicas,
        alertmanager=alertmanager_target,
        kubelets=kubelets,
        interval_s=server.scrape_interval_s,
    )
    thresholds = scraping.thresholds_file(
        settings.thresholds, backups, scraping.expected_targets(all_targets, kubelets)
    )
    scraped = {target.job for target in targets}
    deployed = {workload.name for workload in backend.deployed}
    unused_rules = {
        *(name for name, job in RULES_BY_JOB.items() if job not in scraped),
        *(name for name, workload in RULES_BY_WORKLOAD.items() if workload not in deployed),
        # Its task is deployed later, because it sends results to Prometheus.
        *([] if backups.offsite.enabled else [OFFSITE_RULES]),
    }
    rules = {name: text for name, text in assets("prometheus/rules", "*.yml").items() if name not in unused_rules}
    return StatefulService(
        name=PROMETHEUS.workload,
        image=server.image,
        user=NOBODY_UID,
        command=_in_data_folder(PROMETHEUS_MOUNT, "/etc/prometheus/config", "/bin/prometheus"),
        arguments=(
            "--config.file=/etc/prometheus/config/prometheus.yml",
            f"--storage.tsdb.path={PROMETHEUS_MOUNT}/{DATA_FOLDER}",
            f"--storage.tsdb.retention.time={server.retention_days}d",
            f"--storage.tsdb.retention.size={retention_mib(server.storage_gib, settings.thresholds.disk_percent)}MB",
            *_url_flags(link_to_self.url),
            # The task `offsite` runs in an image without a client of PostgreSQL, so it sends its results here.
            *(["--web.enable-otlp-receiver"] if backups.offsite.enabled else []),
        ),
        file_sets=(
            FileSet(
                name="configuration",
                directory="/etc/prometheus/config",
                files={
                    "prometheus.yml": scraping.to_json(configuration),
                    DATA_FOLDER_SCRIPT: asset(f"volume/{DATA_FOLDER_SCRIPT}"),
                },
            ),
            FileSet(
                name="rules",
                directory=scraping.RULES_DIRECTORY,
                files={**rules, "thresholds.yml": scraping.to_json(thresholds)},
            ),
        ),
        ports=(Port(name="http", number=PROMETHEUS.port, publish=server.port),),
        volumes=(Volume(name="prometheus-data", mount=PROMETHEUS_MOUNT, size_gib=server.storage_gib),),
        memory_mib=server.memory_mib,
        readiness=Probe(check=HttpGet(port=PROMETHEUS.port, path="/-/ready"), startup_s=120),
        # Each start replays the write-ahead log of the last hours.
        liveness=Liveness(check=HttpGet(port=PROMETHEUS.port, path="/-/healthy"), startup_s=RECOVERY_S),
        connects_to=tuple(dict.fromkeys(Endpoint(target.scraped_workload, target.port) for target in targets)),
        reads_node_metrics=kubelets is not None,
        stop_grace_s=60,
    )


def grafana(settings: MonitoringSettings, credentials: Credentials, backend: Backend) -> Service:
    """Return Grafana. It has no persistent data: data source and dashboards are provisioned at each start."""
    server = settings.grafana
    secrets = "/run/secrets/grafana"
    provisioning = "/etc/grafana/provisioning"
    return Service(
        name=GRAFANA_UI.workload,
        image=server.image,
        user=472,
        environment={
            "GF_SECURITY_ADMIN_PASSWORD__FILE": f"{secrets}/password",
            "GF_SERVER_HTTP_PORT": str(GRAFANA_UI.port),
            "GF_SERVER_ROOT_URL": f"{link(backend, GRAFANA_UI, server.port, server.url).url}/",
            "GF_PATHS_PROVISIONING": provisioning,
            # Disable telemetry, and downloads at start.
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
            "GF_PLUGINS_PREINSTALL_DISABLED": "true",
            "GF_SECURITY_DISABLE_GRAVATAR": "true",
            "GF_NEWS_NEWS_FEED_ENABLED": "false",
            "GF_USERS_ALLOW_SIGN_UP": "false",
            "GF_LOG_MODE": "console",
        },
        file_sets=(
            FileSet(
                name="datasources",
                directory=f"{provisioning}/datasources",
                files={"pti-calendar.yaml": _data_sources(settings.prometheus.scrape_interval_s)},
            ),
            FileSet(
                name="providers",
                directory=f"{provisioning}/dashboards",
                files={"pti-calendar.yaml": asset("grafana/provisioning/dashboards/pti-calendar.yaml")},
            ),
            FileSet(name="dashboards", directory="/etc/grafana/dashboards", files=assets("grafana/dashboards")),
            FileSet(name="secrets", directory=secrets, files={"password": credentials[GRAFANA]}, secret=True),
        ),
        ports=(Port(name="http", number=GRAFANA_UI.port, publish=server.port),),
        scratch=(Scratch(path="/var/lib/grafana", size_mib=64), Scratch(path="/tmp")),  # noqa: S108 - mounts of its own
        memory_mib=server.memory_mib,
        readiness=Probe(check=HttpGet(port=GRAFANA_UI.port, path="/api/health"), startup_s=120),
        liveness=Liveness(check=HttpGet(port=GRAFANA_UI.port, path="/api/health")),
        connects_to=(PROMETHEUS, ALERTMANAGER),
    )


def retention_mib(storage_gib: int, disk_percent: float) -> int:
    """Return the size of Prometheus' data beyond which the oldest blocks are deleted, in MiB (Prometheus' MB).

    It is seven eighths of the share at which a disk raises an alert, so that a volume that reaches its limit raises
    none. The rest is for merging blocks, whose result exists in addition to them until they are deleted: at most a
    tenth of the retention time. The WAL counts as data (`BeyondSizeRetention` in Prometheus' tsdb/db.go).
    """
    return int(storage_gib * 1024 * disk_percent / 100 * 7 / 8)


def _url_flags(url: str) -> tuple[str, str]:
    """Return the flags that set a server's public URL. A proxy must strip a path in that URL."""
    return f"--web.external-url={url}", "--web.route-prefix=/"


def _in_data_folder(mount: str, configuration: str, program: str) -> tuple[str, ...]:
    """Return the command that runs a program with its data in `DATA_FOLDER` of a volume, and moves older data there."""
    return ("sh", f"{configuration}/{DATA_FOLDER_SCRIPT}", mount, DATA_FOLDER, program)


def _data_sources(scrape_interval_s: int) -> str:
    sources = Template(asset("grafana/provisioning/datasources/pti-calendar.yaml"))
    return sources.substitute(scrape_interval_s=scrape_interval_s)


def _receiver_credentials(receivers: ReceiversSettings) -> list[Credential]:
    return [
        *([ALERT_EMAIL] if receivers.email.username else []),
        *([ALERT_WEBHOOK] if receivers.webhook else []),
        *([HEARTBEAT_WEBHOOK] if receivers.heartbeat else []),
    ]


def _host_and_port(smarthost: str) -> tuple[str, int]:
    host, _, port = smarthost.rpartition(":")
    return host, int(port)

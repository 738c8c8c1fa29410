"""Monitoring: Prometheus, Grafana, Alertmanager, thresholds, and receivers of notifications."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from settings.base import Conflict, HostPort, Image, Section, SettingsConflict, missing_enabled_key, set_command

Address = Annotated[str, Field(pattern=r"^[^@\s,]+@[^@\s,]+$")]
PublicUrl = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.-]+(:\d{1,5})?(/[A-Za-z0-9._~-]+)*$")]
"""Public URL of a server, without a query or trailing slash, because paths are appended."""

ROUTE_DESCRIPTION = "The stack creates no route to it. A proxy that serves it below a path must strip that path."


class PrometheusSettings(Section):
    """Prometheus."""

    image: Image = Field("prom/prometheus:v3.14.0", description="Image of Prometheus.")
    port: HostPort = Field(9090, description="Host port (Docker).")
    url: PublicUrl | None = Field(
        None,
        examples=["https://prometheus.example.com"],
        description=f"Public URL of Prometheus, for links to the expression of an alert. {ROUTE_DESCRIPTION}",
    )
    retention_days: int = Field(15, ge=1, le=3650, description="Number of days that samples are kept.")
    storage_gib: int = Field(
        20, ge=1, le=65_536, description="Size of the volume in GiB. The oldest samples are deleted before it is full."
    )
    memory_mib: int = Field(512, ge=128, description="Memory limit in MiB.")
    scrape_interval_s: int = Field(15, ge=1, le=120, description="Seconds between two scrapes of a target.")
    scrape_kubelets: bool = Field(
        False,
        description="Whether Prometheus scrapes the kubelets for the usage of volumes (Kubernetes). It then gets a "
        "token that may list nodes and read their metrics.",
    )


class GrafanaSettings(Section):
    """Grafana."""

    image: Image = Field("grafana/grafana:13.1.0", description="Image of Grafana.")
    port: HostPort = Field(3030, description="Host port (Docker).")
    url: PublicUrl | None = Field(
        None,
        examples=["https://grafana.example.com"],
        description=f"Public URL of Grafana, for links to the panel of an alert. {ROUTE_DESCRIPTION}",
    )
    memory_mib: int = Field(256, ge=128, description="Memory limit in MiB.")


class AlertmanagerSettings(Section):
    """Alertmanager."""

    image: Image = Field("prom/alertmanager:v0.34.2", description="Image of Alertmanager.")
    port: HostPort = Field(9093, description="Host port (Docker).")
    url: PublicUrl | None = Field(
        None,
        examples=["https://alertmanager.example.com"],
        description=f"Public URL of Alertmanager, for links to its silences. {ROUTE_DESCRIPTION}",
    )


class ExportersSettings(Section):
    """Images of the exporters, for software without Prometheus metrics."""

    postgres: Image = Field(
        "prometheuscommunity/postgres-exporter:v0.19.1", description="Image of the exporter for PostgreSQL."
    )
    redis: Image = Field("oliver006/redis_exporter:v1.86.0-alpine", description="Image of the exporter for Redis.")
    kafka: Image = Field("danielqsj/kafka-exporter:v1.9.0", description="Image of the exporter for Kafka.")
    nginx: Image = Field("nginx/nginx-prometheus-exporter:1.5.1", description="Image of the exporter for nginx.")
    blackbox: Image = Field(
        "prom/blackbox-exporter:v0.28.0",
        description="Image of the blackbox exporter, which probes front ends and nginx's certificate.",
    )
    node: Image = Field(
        "prom/node-exporter:v1.12.1", description="Image of node_exporter, for the Docker host (Docker)."
    )
    kube_state: Image = Field(
        "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.18.0",
        description="Image of kube-state-metrics, for the objects of the namespace (Kubernetes).",
    )


class ThresholdsSettings(Section):
    """Thresholds of the alerts."""

    latency_ms: int = Field(500, ge=1, description="95th percentile of a service's response time, in milliseconds.")
    error_percent: float = Field(5.0, gt=0, lt=100, description="Share of failed requests, in percent.")
    disk_percent: float = Field(80.0, gt=0, lt=100, description="Used share of a disk or volume, in percent.")
    traffic_floor_rps: float = Field(
        0.1, ge=0, description="Requests per second below which no alert on a ratio fires."
    )
    availability_percent: float = Field(
        99.9,
        gt=0,
        lt=100,
        description="Objective: share of each service's requests that must succeed within 30 days, in percent.",
    )
    certificate_days: int = Field(14, ge=1, le=365, description="Days before nginx's certificate expires.")
    tenant_audit_hours: int = Field(
        26, ge=1, le=8784, description="Hours since the last audit of the isolation of tenants."
    )


class EmailSettings(Section):
    """Notification by e-mail. The password is the secret `alertEmailPassword`."""

    to: tuple[Address, ...] = Field((), strict=False, description="Recipients. Default: no e-mail.")
    sender: str = Field("alerts@pti-calendar.fr", pattern=r"^[^@\s]+@[^@\s]+$", description="Address of the sender.")
    smarthost: str | None = Field(
        None, pattern=r"^[A-Za-z0-9.-]+:\d{1,5}$", examples=["smtp.example.com:587"], description="Mail server."
    )
    username: str | None = Field(None, min_length=1, examples=["alerts"], description="User of the mail server.")

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.to and self.smarthost is None:
            raise SettingsConflict({"smarthost": Conflict("is required with email.to", set_command("HOST:PORT"))})
        if not self.to and (self.smarthost or self.username):
            problem = "names no recipient, although a mail server is set"
            raise SettingsConflict({"to": Conflict(problem, "add a recipient, or remove smarthost and username")})
        return self


class ReceiversSettings(Section):
    """Receivers of notifications."""

    none: bool = Field(
        False,
        description="Whether the stack deliberately has no receiver; alerts are then only visible in Alertmanager. A "
        "stack with `protect` needs either a receiver or this key.",
    )
    email: EmailSettings = Field(default_factory=EmailSettings, description="Notification by e-mail.")
    webhook: bool = Field(False, description="Whether alerts are sent to the URL in the secret `alertWebhookUrl`.")
    heartbeat: bool = Field(
        False,
        description="Whether the heartbeat (the alert Watchdog) is sent to the URL in the secret "
        "`heartbeatWebhookUrl`, to a service that raises the alarm when it stops (a dead man's switch).",
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.none and self.has_receiver:
            problem = "is true, although there is a receiver (email or webhook)"
            raise SettingsConflict({"none": Conflict(problem, set_command("false"))})
        return self

    @property
    def has_receiver(self) -> bool:
        """Return whether any receiver notifies people; the Watchdog's receiver doesn't count."""
        return self.webhook or bool(self.email.to)


class MonitoringSettings(Section):
    """Prometheus, Alertmanager and Grafana."""

    enabled: bool = Field(False, description="Whether Prometheus, Grafana and Alertmanager run.")
    prometheus: PrometheusSettings = Field(default_factory=PrometheusSettings, description="Prometheus.")
    grafana: GrafanaSettings = Field(default_factory=GrafanaSettings, description="Grafana.")
    alertmanager: AlertmanagerSettings = Field(default_factory=AlertmanagerSettings, description="Alertmanager.")
    exporters: ExportersSettings = Field(default_factory=ExportersSettings, description="The exporters' images.")
    thresholds: ThresholdsSettings = Field(default_factory=ThresholdsSettings, description="Thresholds of the alerts.")
    receivers: ReceiversSettings = Field(default_factory=ReceiversSettings, description="Who is notified.")

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if found := missing_enabled_key(self):
            raise SettingsConflict(found)
        return self

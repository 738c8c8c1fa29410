"""Stack outputs, from settings and credentials."""

from __future__ import annotations

import pulumi

import contract.outputs as contract
from backends.base import Backend
from components.credentials import Credentials
from components.gateway.declaration import api_path
from components.monitoring.servers import ALERTMANAGER, GRAFANA_UI, PROMETHEUS
from components.stores import DataLayer
from components.urls import Urls
from settings import Settings
from settings.credentials import GRAFANA, JWT, PGADMIN, third_party
from settings.monitoring import AlertmanagerSettings, GrafanaSettings, PrometheusSettings
from workloads import Endpoint

Secrets = contract.CredentialsOutput[pulumi.Output[str]]


def output_credentials(settings: Settings, credentials: Credentials, data: DataLayer) -> Secrets:
    """Return the secret values, for other programs and for the services."""
    return contract.CredentialsOutput(
        **{name: one.secret for name, one in data.stores.items()},
        jwt_secret=credentials[JWT],
        pg_admin=credentials[PGADMIN] if settings.dev_tools.enabled else None,
        grafana=credentials[GRAFANA] if settings.monitoring.enabled else None,
        third_parties={
            third_party(secret).variable: credentials[third_party(secret)]
            for service in settings.services.enabled
            for secret in service.secrets
        },
    )


def stack_outputs(
    settings: Settings, secrets: Secrets, data: DataLayer, backend: Backend
) -> contract.StackOutputs[pulumi.Output[str]]:
    """Return the stack's outputs for other programs."""
    return contract.StackOutputs(
        contract_version=contract.CONTRACT_VERSION,
        **{name: one.published for name, one in data.stores.items()},
        tools=_tools(settings, backend),
        gateway=_gateway(settings),
        monitoring=_monitoring(settings, backend),
        credentials=secrets,
    )


def _tools(settings: Settings, backend: Backend) -> contract.ToolsOutput:
    def url(workload: str, port: int) -> str | None:
        return _http_url(backend, Endpoint(workload, port), port) if settings.dev_tools.enabled else None

    tools = settings.dev_tools
    return contract.ToolsOutput(
        pg_admin=url("pgadmin", tools.pg_admin.port),
        kafka_ui=url("kafka-ui", tools.kafka_ui.port),
        redis_commander=url("redis-commander", tools.redis_commander.port),
    )


def _monitoring(settings: Settings, backend: Backend) -> contract.MonitoringOutput:
    monitoring = settings.monitoring

    def url(endpoint: Endpoint, server: PrometheusSettings | GrafanaSettings | AlertmanagerSettings) -> str | None:
        return server.url or _http_url(backend, endpoint, server.port) if monitoring.enabled else None

    return contract.MonitoringOutput(
        grafana=url(GRAFANA_UI, monitoring.grafana),
        prometheus=url(PROMETHEUS, monitoring.prometheus),
        alertmanager=url(ALERTMANAGER, monitoring.alertmanager),
    )


def _http_url(backend: Backend, endpoint: Endpoint, publish: int) -> str:
    host, port = backend.addressing.published(endpoint, publish)
    return f"http://{host}:{port}"


def _gateway(settings: Settings) -> contract.GatewayOutput:
    urls = Urls(settings.gateway, settings.edge)
    is_enabled = settings.gateway.enabled
    return contract.GatewayOutput(
        api=urls.api if is_enabled else None,
        services={one.name: f"{urls.api}{api_path(one.name)}" for one in settings.services.enabled if is_enabled},
        frontends={one.name: urls.frontend(one) for one in settings.frontends.deployed if is_enabled},
    )

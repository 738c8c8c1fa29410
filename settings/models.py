"""The typed configuration of a stack: the keys of `Pulumi.<stack>.yaml`, their defaults and limits."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from settings.applications import FrontendsSettings, ServicesSettings
from settings.backend import BackendSettings, ImagesSettings, KubernetesSettings
from settings.backups import BackupsSettings
from settings.base import Section
from settings.edge import EdgeSettings
from settings.gateway import GatewaySettings
from settings.monitoring import MonitoringSettings
from settings.stores import StoresSettings
from settings.tenants import TenantsSettings
from settings.tools import DevToolsSettings


class HostingSettings(Section):
    """Location of the platform, and protection of its secrets and volumes."""

    backend: BackendSettings = Field(default_factory=BackendSettings, description="Where the platform runs.")
    credentials: Literal["generated", "well-known"] = Field(
        "generated",
        description="`generated`: a random value per credential, kept as a secret in the state; `well-known`: fixed, "
        "publicly known values (postgres / postgres, no Redis password), for a laptop. A credential that is "
        "set as a configuration secret takes precedence.",
    )
    protect: bool = Field(
        False,
        description="Whether Pulumi protects volumes and generated credentials from deletion. `pulumi destroy` "
        "keeps volumes in any case.",
    )
    kubernetes: KubernetesSettings = Field(
        default_factory=KubernetesSettings, description="The cluster, for `backend.kind: kubernetes`."
    )
    images: ImagesSettings = Field(default_factory=ImagesSettings, description="Mirrors of the images.")


class Settings(StoresSettings, HostingSettings):
    """One stack of the PTI Calendar platform."""

    services: ServicesSettings = Field(default_factory=ServicesSettings, description="The services of the catalog.")
    frontends: FrontendsSettings = Field(
        default_factory=FrontendsSettings, description="The front ends of the catalog."
    )
    gateway: GatewaySettings = Field(default_factory=GatewaySettings, description="The API gateway.")
    edge: EdgeSettings = Field(default_factory=EdgeSettings, description="The edge, in front of the API gateway.")
    monitoring: MonitoringSettings = Field(
        default_factory=MonitoringSettings, description="Prometheus, Alertmanager and Grafana."
    )
    backups: BackupsSettings = Field(default_factory=BackupsSettings, description="Backups of PostgreSQL's databases.")
    tenants: TenantsSettings = Field(
        default_factory=TenantsSettings, description="Audit, export and erasure of tenants."
    )
    dev_tools: DevToolsSettings = Field(
        default_factory=DevToolsSettings, description="pgAdmin, Kafka UI, Redis Commander."
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the settings object, for editors."""
    return Settings.model_json_schema(by_alias=True)

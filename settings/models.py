"""The typed configuration of a stack: the keys of `Pulumi.<stack>.yaml`, their defaults and limits."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from settings.applications import Frontends, Services
from settings.backend import Backend, Images, Kubernetes
from settings.base import Section
from settings.edge import Edge
from settings.gateway import Gateway
from settings.monitoring import Monitoring
from settings.stores import Stores
from settings.tools import DevTools


class Hosting(Section):
    """Location of the platform, and protection of its secrets and volumes."""

    backend: Backend = Field(default_factory=Backend, description="Where the platform runs.")
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
    kubernetes: Kubernetes = Field(
        default_factory=Kubernetes, description="The cluster, for `backend.kind: kubernetes`."
    )
    images: Images = Field(default_factory=Images, description="Registry of the images.")


class Settings(Stores, Hosting):
    """One stack of the PTI Calendar platform."""

    services: Services = Field(default_factory=Services, description="The seven services.")
    frontends: Frontends = Field(default_factory=Frontends, description="The four front ends.")
    gateway: Gateway = Field(default_factory=Gateway, description="The API gateway.")
    edge: Edge = Field(default_factory=Edge, description="The edge, in front of the API gateway.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="Prometheus, Alertmanager and Grafana.")
    dev_tools: DevTools = Field(default_factory=DevTools, description="pgAdmin, Kafka UI, Redis Commander.")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the settings object, for editors."""
    return Settings.model_json_schema(by_alias=True)

"""The typed configuration of a stack: the keys of `Pulumi.<stack>.yaml`, their defaults and limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from settings.applications import Frontends, Services
from settings.backend import Backend, Images, Kubernetes
from settings.base import Section, SettingsConflict
from settings.catalog import SERVICES
from settings.consistency import conflicts
from settings.credentials import (
    ALERT_EMAIL,
    ALERT_WEBHOOK,
    CREDENTIALS,
    GRAFANA,
    KAFKA,
    PGADMIN,
    POSTGRES_ADMIN,
    POSTGRES_MONITOR,
    REDIS,
    WATCHDOG_WEBHOOK,
    Credential,
    third_party,
)
from settings.gateway import Gateway
from settings.monitoring import Monitoring
from settings.stores import Kafka, Postgres, Redis, StoreSettings
from settings.tools import DevTools


class Settings(Section):
    """One stack of the PTI Calendar platform."""

    backend: Backend = Field(default_factory=Backend, description="Where the platform runs.")
    credentials: Literal["generated", "well-known"] = Field(
        "generated",
        description="`generated`: a random value per credential, kept as a secret in the state; `well-known`: fixed "
        "values that everybody knows (postgres / postgres, no Redis password), for a laptop. A credential that is "
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
    images: Images = Field(default_factory=Images, description="Where images come from.")
    postgres: Postgres = Field(default_factory=Postgres, description="PostgreSQL.")
    redis: Redis = Field(default_factory=Redis, description="Redis.")
    kafka: Kafka = Field(default_factory=Kafka, description="Kafka.")
    services: Services = Field(default_factory=Services, description="The seven services.")
    frontends: Frontends = Field(default_factory=Frontends, description="The four front ends.")
    gateway: Gateway = Field(default_factory=Gateway, description="The gateway: the edge and Kong.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="Prometheus, Alertmanager and Grafana.")
    dev_tools: DevTools = Field(default_factory=DevTools, description="pgAdmin, Kafka UI, Redis Commander.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if found := conflicts(self):
            raise SettingsConflict(found)
        return self

    @property
    def stores(self) -> dict[str, StoreSettings]:
        """The sections of the stores, by their names."""
        return {name: section for name, section in self if isinstance(section, StoreSettings)}

    @property
    def on_kubernetes(self) -> bool:
        """Return whether the platform runs in a cluster."""
        return self.backend.kind == "kubernetes"

    @property
    def kong_admin_api(self) -> bool:
        """Return whether Kong's Admin API runs: by default only with well-known credentials."""
        asked = self.gateway.kong.admin_api
        return self.credentials == "well-known" if asked is None else asked

    def required_credentials(self) -> tuple[Credential, ...]:
        """Return the credentials that the stack's components need."""
        third_parties = {third_party(secret) for service in SERVICES for secret in service.secrets}
        # This includes services in an editor, which get their credentials from `make env`.
        unused = third_parties - {third_party(secret) for one in self.services.routed for secret in one.secrets}
        if not self.dev_tools.enabled:
            unused.add(PGADMIN)
        if not self.monitoring.enabled:
            unused |= {POSTGRES_MONITOR, GRAFANA}
        told = self.monitoring.receivers
        for credential, used in (
            (ALERT_EMAIL, told.email.username is not None),
            (ALERT_WEBHOOK, told.webhook),
            (WATCHDOG_WEBHOOK, told.watchdog),
        ):
            if not (used and self.monitoring.enabled):
                unused.add(credential)
        if self.kafka.external.username is None:
            unused.add(KAFKA)
        return tuple(one for one in CREDENTIALS if one not in unused)

    def supplied_credentials(self) -> tuple[Credential, ...]:
        """Return the required credentials that can't be generated: those of third parties and of existing servers."""
        servers = {
            POSTGRES_ADMIN: self.postgres.mode == "external",
            REDIS: self.redis.mode == "external",
            KAFKA: self.kafka.mode == "external",
            # They have no well-known value.
            **dict.fromkeys((ALERT_EMAIL, ALERT_WEBHOOK, WATCHDOG_WEBHOOK), True),
        }
        return tuple(
            one
            for one in self.required_credentials()
            if servers.get(one, one.third_party and self.credentials == "generated")
        )

    def published_ports(self) -> Iterator[tuple[str, int]]:
        """Return each host port that the stack binds, with the configuration key that changes it."""
        if self.on_kubernetes:
            return
        if self.postgres.mode != "external":
            yield "postgres.port", self.postgres.port
        if self.redis.mode != "external":
            yield "redis.port", self.redis.port
        if self.kafka.mode != "external":
            yield "kafka.port", self.kafka.port
        if self.kafka.mode == "zookeeper":
            yield "kafka.zookeeper.port", self.kafka.zookeeper.port
        if self.dev_tools.enabled:
            yield "devTools.pgAdmin.port", self.dev_tools.pg_admin.port
            yield "devTools.kafkaUi.port", self.dev_tools.kafka_ui.port
            yield "devTools.redisCommander.port", self.dev_tools.redis_commander.port
        if self.gateway.enabled:
            yield "gateway.nginx.httpPort", self.gateway.nginx.http_port
            yield "gateway.nginx.httpsPort", self.gateway.nginx.https_port
            yield "gateway.kong.proxyPort", self.gateway.kong.proxy_port
            yield "gateway.kong.tlsPort", self.gateway.kong.tls_port
            if self.kong_admin_api:
                yield "gateway.kong.adminPort", self.gateway.kong.admin_port
        if self.monitoring.enabled:
            yield "monitoring.prometheus.port", self.monitoring.prometheus.port
            yield "monitoring.alertmanager.port", self.monitoring.alertmanager.port
            yield "monitoring.grafana.port", self.monitoring.grafana.port


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the settings object, for editors."""
    return Settings.model_json_schema(by_alias=True)

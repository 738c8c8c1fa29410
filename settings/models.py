"""The typed configuration of a stack: what may be said in `Pulumi.<stack>.yaml`, its defaults and its limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from settings.applications import Frontends, Scaling, Services
from settings.backend import Backend, Images, Kubernetes
from settings.base import Contradictions, Section, without_effect
from settings.catalog import SERVICES
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
from settings.stores import Kafka, Postgres, Redis
from settings.tools import DevTools


class Settings(Section):
    """One stack of the PTI Calendar platform."""

    backend: Backend = Field(default_factory=Backend, description="Where the platform runs.")
    credentials: Literal["generated", "well-known"] = Field(
        "generated",
        description="`generated`: a random value per credential, kept as a secret in the state; `well-known`: "
        "the ones everyone knows (postgres / postgres, no Redis password), for a laptop. Either way a "
        "credential that is set as a configuration secret wins.",
    )
    protect: bool = Field(
        False,
        description="Whether volumes and generated credentials refuse deletion until unprotected. Volumes "
        "outlive a `pulumi destroy` either way.",
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
    gateway: Gateway = Field(default_factory=Gateway, description="The way in.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="Prometheus, Alertmanager and Grafana.")
    dev_tools: DevTools = Field(default_factory=DevTools, description="pgAdmin, Kafka UI, Redis Commander.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        allowed = {}
        taken: dict[int, str] = {}
        for key, port in self.published_ports():
            if port in taken:
                allowed[key] = f"a port of its own: {port} is already taken by {taken[port]}"
            taken.setdefault(port, key)
        if self.credentials == "well-known" and not self.backend.bind_address.is_loopback:
            allowed["credentials"] = (
                "'generated', as backend.bindAddress publishes ports beyond this machine; "
                "or a bindAddress on loopback (127.0.0.1)"
            )
        allowed |= self._out_of_place_on_kubernetes() if self.on_kubernetes else self._out_of_place_on_docker()
        if self.credentials == "well-known" and self.postgres.mode == "external":
            allowed["credentials"] = "'generated' with an external PostgreSQL, whose roles would get these passwords"
        encrypted_kafka = self.kafka.mode == "external" and self.kafka.external.security_protocol != "PLAINTEXT"
        if self.dev_tools.enabled and (self.redis.mode == "external" or encrypted_kafka):
            allowed.setdefault("devTools.enabled", "false with an external Redis, or a Kafka that encrypts")
        if self.frontends.deploy and not self.gateway.enabled:
            allowed["frontends.deploy"] = "nothing without the gateway (gateway.enabled), the only way to a front end"
        if self.services.local and not self.gateway.enabled:
            allowed.setdefault("services.local", "nothing without the gateway (gateway.enabled), which leads there")
        if self.monitoring.enabled and self.kafka.external.security_protocol == "SASL_SSL":
            allowed["monitoring.enabled"] = (
                "false with a Kafka that asks for a user: its exporter takes the password as a process argument only"
            )
        if allowed:
            raise Contradictions(allowed)
        return self

    @property
    def on_kubernetes(self) -> bool:
        """Whether the platform runs in a cluster."""
        return self.backend.kind == "kubernetes"

    def _out_of_place_on_kubernetes(self) -> dict[str, str]:
        allowed = {}
        if self.kubernetes.kubeconfig is None:
            allowed["kubernetes.kubeconfig"] = "the path of a kubeconfig file, as backend.kind is 'kubernetes'"
        if self.kubernetes.context is None:
            allowed["kubernetes.context"] = "a context of the kubeconfig file, as backend.kind is 'kubernetes'"
        if self.credentials == "well-known":
            allowed["credentials"] = "'generated' in a cluster: well-known credentials are for a laptop"
        if self.services.local:
            allowed["services.local"] = "nothing in a cluster: it can't reach a developer's machine"
        if self.dev_tools.enabled:
            allowed["devTools.enabled"] = "false in a cluster: the tools have no accounts of their own"
        reason = "in a cluster, which binds no port of a host"
        for path, section, names in self._host_ports():
            found = without_effect(section, names, reason=reason)
            allowed |= {f"{path}.{key}": text for key, text in found.items()}
        return allowed

    def _host_ports(self) -> Iterator[tuple[str, Section, tuple[str, ...]]]:
        """The settings that only Docker has a use for. nginx's ports are those of its Service, too."""
        yield "postgres", self.postgres, ("port",)
        yield "redis", self.redis, ("port",)
        yield "kafka", self.kafka, ("port",)
        yield "kafka.zookeeper", self.kafka.zookeeper, ("port",)
        yield "gateway.kong", self.gateway.kong, ("proxy_port", "tls_port", "admin_port")
        yield "monitoring.prometheus", self.monitoring.prometheus, ("port",)
        yield "monitoring.alertmanager", self.monitoring.alertmanager, ("port",)
        yield "monitoring.grafana", self.monitoring.grafana, ("port",)

    def _out_of_place_on_docker(self) -> dict[str, str]:
        allowed = without_effect(self, ["kubernetes"], reason="with backend.kind 'docker'")
        if self.postgres.mode == "cloudnativepg":
            allowed["postgres.mode"] = "'statefulset' or 'external' on Docker: CloudNativePG needs a cluster"
        if self.kafka.brokers > 1:
            allowed["kafka.brokers"] = "1 on Docker: one engine is one place to lose"
        if self.gateway.edge != "nginx":
            allowed["gateway.edge"] = "'nginx' on Docker: Ingress and Gateway API need a cluster"
        if self.gateway.tls.source != "self-signed":
            allowed["gateway.tls.source"] = "'self-signed' on Docker: Secrets and cert-manager need a cluster"
        if self.monitoring.prometheus.kubelets:
            allowed["monitoring.prometheus.kubelets"] = "false on Docker, which has none"
        for key, number, scaling in self._copies():
            if (number or 1) > 1:
                allowed[f"{key}.replicas"] = "1 on Docker, which runs one copy"
            if scaling is not None:
                allowed[f"{key}.scaling"] = "nothing on Docker, which runs one copy: remove it"
        return allowed

    def _copies(self) -> Iterator[tuple[str, int | None, Scaling | None]]:
        """Each key below which a number of copies is said, with what is said there."""
        yield "gateway.kong", self.gateway.kong.replicas, None
        yield "gateway.nginx", self.gateway.nginx.replicas, None
        applications: tuple[tuple[str, Services | Frontends], ...] = (
            ("services", self.services),
            ("frontends", self.frontends),
        )
        for key, section in applications:
            yield key, section.replicas, section.scaling
            own: Section = section.each
            for name, one in own:
                yield f"{key}.each.{to_camel(name)}", one.replicas, one.scaling

    def required_credentials(self) -> tuple[Credential, ...]:
        """The credentials of what the stack runs."""
        third_parties = {third_party(secret) for service in SERVICES for secret in service.secrets}
        # Also those of a service in an editor, which gets them from `make env`.
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
        """Those of them that a person must supply: somebody else's, and the keys to servers that are there already."""
        servers = {
            POSTGRES_ADMIN: self.postgres.mode == "external",
            REDIS: self.redis.mode == "external",
            KAFKA: self.kafka.mode == "external",
            # Nothing well-known could stand for them.
            **dict.fromkeys((ALERT_EMAIL, ALERT_WEBHOOK, WATCHDOG_WEBHOOK), True),
        }
        return tuple(
            one
            for one in self.required_credentials()
            if servers.get(one, one.third_party and self.credentials == "generated")
        )

    def published_ports(self) -> Iterator[tuple[str, int]]:
        """Each host port the stack binds, with the configuration key that changes it."""
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
            yield "gateway.kong.adminPort", self.gateway.kong.admin_port
        if self.monitoring.enabled:
            yield "monitoring.prometheus.port", self.monitoring.prometheus.port
            yield "monitoring.alertmanager.port", self.monitoring.alertmanager.port
            yield "monitoring.grafana.port", self.monitoring.grafana.port


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the settings object, as an editor wants it."""
    return Settings.model_json_schema(by_alias=True)

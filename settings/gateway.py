"""How users reach the platform: the load balancer or its successor, TLS, and Kong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from settings.base import (
    Conflict,
    DnsLabel,
    HostName,
    HostPort,
    Image,
    Section,
    SettingsConflict,
    neither_on_nor_off,
    set_to,
    unused_keys,
)

OF_THE_OTHER: Mapping[str, Sequence[str]] = {
    "ingress": ("gateway", "gateway_namespace", "https_listener", "http_listener"),
    "gateway-api": ("class_name", "annotations"),
}
"""Per edge, the keys of `ingress` that only the other edge uses."""

Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9.-]+(:\d+)?$")]


class Tls(Section):
    """Where the certificate for all host names comes from."""

    source: Literal["self-signed", "secret", "cert-manager"] = Field(
        "self-signed",
        description="`self-signed`: made by the stack, for trying out, and no browser trusts it; `secret`: a Secret of "
        "the namespace that somebody keeps (Kubernetes); `cert-manager`: obtained and renewed by an issuer of the "
        "cluster (Kubernetes).",
    )
    secret_name: DnsLabel = Field(
        "pti-calendar-tls",
        examples=["pti-calendar-tls"],
        description="Name of the Secret, with the keys `tls.crt` and `tls.key`.",
    )
    issuer: str | None = Field(
        None, min_length=1, examples=["letsencrypt"], description="cert-manager's issuer. Needed with `cert-manager`."
    )
    issuer_kind: Literal["ClusterIssuer", "Issuer"] = Field("ClusterIssuer", description="Kind of the issuer.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = {}
        if self.source == "cert-manager" and self.issuer is None:
            found["issuer"] = Conflict("is required with the source 'cert-manager'", set_to("ISSUER"))
        if self.source != "cert-manager":
            named = ["issuer_kind", *(["issuer"] if self.issuer is not None else [])]
            found |= unused_keys(self, named, reason=f"with the source '{self.source}'")
        if self.source == "self-signed":
            found |= unused_keys(self, ["secret_name"], reason="with the source 'self-signed'")
        if found:
            raise SettingsConflict(found)
        return self


class Nginx(Section):
    """nginx as the load balancer, for `gateway.edge: nginx`."""

    image: Image = Field("nginxinc/nginx-unprivileged:1.30.4", description="Image.")
    http_port: HostPort = Field(80, description="Port that redirects to HTTPS.")
    https_port: HostPort = Field(443, description="Port of everything.")
    replicas: int = Field(1, ge=1, le=100, description="Copies.")
    memory_mib: int = Field(64, ge=32, description="Memory limit in MiB.")


class Ingress(Section):
    """The cluster's own edge, for `gateway.edge: ingress` or `gateway-api`."""

    class_name: str | None = Field(
        None, min_length=1, examples=["traefik"], description="Ingress class; without it the cluster's default one."
    )
    annotations: Mapping[str, str] = Field(
        {},
        examples=[{"traefik.ingress.kubernetes.io/router.entrypoints": "websecure"}],
        description="Annotations of the Ingress, for its controller: redirects, headers, a larger body.",
    )
    gateway: DnsLabel | None = Field(
        None, examples=["public"], description="The Gateway that HTTPRoutes attach to. Needed with `gateway-api`."
    )
    gateway_namespace: DnsLabel | None = Field(
        None, examples=["gateway-system"], description="The Gateway's namespace; without it, the platform's own."
    )
    https_listener: DnsLabel | None = Field(
        None,
        examples=["https"],
        description="The Gateway's listener with TLS; without it the routes attach to every listener that lets them, "
        "and answer without TLS where one has none.",
    )
    http_listener: DnsLabel | None = Field(
        None,
        examples=["http"],
        description="The Gateway's listener without TLS, where every request is then sent to HTTPS. Needs "
        "`httpsListener`.",
    )
    controller_namespace: DnsLabel = Field(
        "ingress",
        examples=["traefik"],
        description="Namespace of the controller's pods, which users' requests come from.",
    )


class RateLimit(Section):
    """How many requests one client may make; Redis counts them for all of Kong's replicas."""

    per_minute: int = Field(600, ge=1, description="Requests a minute and client address.")
    per_hour: int | None = Field(None, ge=1, examples=[10000], description="Requests an hour and client address.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        # Kong wouldn't start.
        if self.per_hour is not None and self.per_hour < self.per_minute:
            problem = f"is lower than perMinute ({self.per_minute})"
            raise SettingsConflict({"perHour": Conflict(problem, set_to(f"{self.per_minute} (or more)"))})
        return self


class Kong(Section):
    """Kong, the API gateway."""

    image: Image = Field("kong:3.9.3", description="Image, Kong 3.9.")
    proxy_port: HostPort = Field(8000, description="Host port of the proxy (Docker).")
    tls_port: HostPort = Field(8443, description="Host port of the TLS proxy (Docker).")
    admin_api: bool | None = Field(
        None,
        examples=[True],
        description="Whether the administration API runs, closed to everything but reading what holds no secret; "
        "without it, with the credentials `well-known` only.",
    )
    admin_port: HostPort = Field(8001, description="Host port of the administration API (Docker).")
    replicas: int = Field(1, ge=1, le=100, description="Copies.")
    memory_mib: int = Field(512, ge=256, description="Memory limit in MiB.")
    cpu_request: float = Field(0.1, gt=0, le=64, description="CPU it is promised, in cores.")


class Gateway(Section):
    """The way in."""

    enabled: bool = Field(False, description="Whether it runs at all.")
    edge: Literal["nginx", "ingress", "gateway-api"] = Field(
        "nginx",
        description="`nginx`: the platform's own load balancer; `ingress`: an Ingress for the cluster's controller; "
        "`gateway-api`: HTTPRoutes for a Gateway of the cluster.",
    )
    domain: HostName = Field(
        "pti-calendar.localhost",
        examples=["pti-calendar.fr"],
        description="Domain under which every front end and the API have a host name.",
    )
    cors_origins: tuple[Origin, ...] | None = Field(
        None,
        strict=False,
        examples=[["https://app.pti-calendar.fr"]],
        description="Web origins that may call the API; without it, those of the front ends.",
    )
    max_body_mib: int = Field(10, ge=1, le=1024, description="Largest request body, in MiB.")
    tls: Tls = Field(default_factory=Tls, description="The certificate.")
    rate_limit: RateLimit = Field(default_factory=RateLimit, description="How much one client may ask for.")
    kong: Kong = Field(default_factory=Kong, description="Kong.")
    nginx: Nginx = Field(default_factory=Nginx, description="nginx, with the edge `nginx`.")
    ingress: Ingress = Field(
        default_factory=Ingress, description="The cluster's edge, with the edges `ingress` and `gateway-api`."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        reason = f"with the edge '{self.edge}'"
        found = neither_on_nor_off(self)
        found |= unused_keys(self, ["ingress" if self.edge == "nginx" else "nginx"], reason=reason)
        if self.edge == "nginx" and self.nginx.http_port == self.nginx.https_port:
            problem = f"is the same as httpPort ({self.nginx.http_port})"
            found["nginx.httpsPort"] = Conflict(problem, set_to("OTHER_PORT"))
        unused = unused_keys(self.ingress, OF_THE_OTHER.get(self.edge, ()), reason=reason)
        found |= {f"ingress.{key}": conflict for key, conflict in unused.items()}
        if self.edge == "gateway-api" and self.ingress.gateway is None:
            found["ingress.gateway"] = Conflict("is required with the edge 'gateway-api'", set_to("GATEWAY"))
        without_tls = self.ingress.http_listener
        if self.edge == "gateway-api" and without_tls and self.ingress.https_listener in (None, without_tls):
            problem = f"must name another listener than httpListener ({without_tls}), which redirects to it"
            found["ingress.httpsListener"] = Conflict(problem, set_to("LISTENER"))
        if found:
            raise SettingsConflict(found)
        return self

    @property
    def runs_nginx(self) -> bool:
        """Whether the stack has an nginx of its own at the edge."""
        return self.enabled and self.edge == "nginx"

    def host(self, subdomain: str) -> str:
        """Host name under the domain."""
        return f"{subdomain}.{self.domain}"

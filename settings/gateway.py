"""How users reach the platform: the edge, TLS, and Kong."""

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
    """Source of the certificate for all host names."""

    source: Literal["self-signed", "secret", "cert-manager"] = Field(
        "self-signed",
        description="`self-signed`: created by the stack, for tests; browsers don't trust it. `secret`: an existing "
        "Secret of the namespace (Kubernetes). `cert-manager`: issued and renewed by cert-manager (Kubernetes).",
    )
    secret_name: DnsLabel = Field(
        "pti-calendar-tls",
        examples=["pti-calendar-tls"],
        description="Name of the Secret, with the keys `tls.crt` and `tls.key`.",
    )
    issuer: str | None = Field(
        None, min_length=1, examples=["letsencrypt"], description="cert-manager's issuer. Required with `cert-manager`."
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
    http_port: HostPort = Field(80, description="HTTP port, which redirects to HTTPS.")
    https_port: HostPort = Field(443, description="HTTPS port.")
    replicas: int = Field(1, ge=1, le=100, description="Number of replicas.")
    memory_mib: int = Field(64, ge=32, description="Memory limit in MiB.")


class Ingress(Section):
    """The cluster's edge, for `gateway.edge: ingress` or `gateway-api`."""

    class_name: str | None = Field(
        None, min_length=1, examples=["traefik"], description="Ingress class. Default: the cluster's default class."
    )
    annotations: Mapping[str, str] = Field(
        {},
        examples=[{"traefik.ingress.kubernetes.io/router.entrypoints": "websecure"}],
        description="Annotations of the Ingress for its controller, such as redirects, headers or a larger body.",
    )
    gateway: DnsLabel | None = Field(
        None, examples=["public"], description="The Gateway that the HTTPRoutes attach to. Required with `gateway-api`."
    )
    gateway_namespace: DnsLabel | None = Field(
        None, examples=["gateway-system"], description="Namespace of the Gateway. Default: the platform's namespace."
    )
    https_listener: DnsLabel | None = Field(
        None,
        examples=["https"],
        description="The Gateway's TLS listener. Default: the routes attach to every listener that allows it, even "
        "without TLS.",
    )
    http_listener: DnsLabel | None = Field(
        None,
        examples=["http"],
        description="The Gateway's listener without TLS, on which every request is redirected to HTTPS. Requires "
        "`httpsListener`.",
    )
    controller_namespace: DnsLabel = Field(
        "ingress",
        examples=["traefik"],
        description="Namespace of the controller's pods, from which users' requests arrive.",
    )


class RateLimit(Section):
    """Rate limits per client. Redis counts the requests for all replicas of Kong."""

    per_minute: int = Field(600, ge=1, description="Requests per minute and client address.")
    per_hour: int | None = Field(
        None, ge=1, examples=[10000], description="Requests per hour and client address. Default: no limit."
    )

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
        description="Whether the admin API runs; it is read-only and shows no secrets. Default: only with the "
        "credentials `well-known`.",
    )
    admin_port: HostPort = Field(8001, description="Host port of the admin API (Docker).")
    replicas: int = Field(1, ge=1, le=100, description="Number of replicas.")
    memory_mib: int = Field(512, ge=256, description="Memory limit in MiB.")
    cpu_request: float = Field(0.1, gt=0, le=64, description="CPU request in cores.")


class Gateway(Section):
    """The gateway: the edge and Kong."""

    enabled: bool = Field(False, description="Whether the gateway runs.")
    edge: Literal["nginx", "ingress", "gateway-api"] = Field(
        "nginx",
        description="`nginx`: the platform's own load balancer; `ingress`: an Ingress for the cluster's controller; "
        "`gateway-api`: HTTPRoutes for a Gateway of the cluster.",
    )
    domain: HostName = Field(
        "pti-calendar.localhost",
        examples=["pti-calendar.fr"],
        description="Domain of the front ends' and the API's host names.",
    )
    cors_origins: tuple[Origin, ...] | None = Field(
        None,
        strict=False,
        examples=[["https://app.pti-calendar.fr"]],
        description="Web origins that may call the API (CORS). Default: those of the front ends.",
    )
    max_body_mib: int = Field(10, ge=1, le=1024, description="Largest request body, in MiB.")
    tls: Tls = Field(default_factory=Tls, description="The certificate.")
    rate_limit: RateLimit = Field(default_factory=RateLimit, description="Rate limits per client.")
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
        """Return whether the stack runs nginx at the edge."""
        return self.enabled and self.edge == "nginx"

    def host(self, subdomain: str) -> str:
        """Return a host name in the domain."""
        return f"{subdomain}.{self.domain}"

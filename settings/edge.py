"""The edge, which receives users' requests and terminates TLS in front of the API gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from settings.base import (
    Cidrs,
    Conflict,
    DnsLabel,
    HostPort,
    Image,
    Section,
    SettingsConflict,
    set_command,
    unused_keys,
)
from settings.scalars import Text

SECTIONS = {"nginx": "nginx", "ingress": "ingress", "gateway-api": "gateway_api"}
"""Maps each kind of edge to its section."""


class LoadBalancerSettings(Section):
    """The cluster's load balancer in front of nginx: its Service of the type LoadBalancer."""

    annotations: Mapping[str, Text] = Field(
        {},
        examples=[{"service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing"}],
        description="Annotations for the cloud's controller. See [clusters.md](clusters.md#load-balancers).",
    )
    class_name: str | None = Field(
        None,
        min_length=1,
        examples=["service.k8s.aws/nlb"],
        description="`loadBalancerClass`: the controller that creates the load balancer. Kubernetes refuses to change "
        "it while the Service exists. Default: the cluster's default.",
    )
    external_traffic_policy: Literal["Local", "Cluster"] = Field(
        "Local",
        description="`Local`: nginx sees the client's address; `Cluster`: every node forwards, and the client's "
        "address is lost to rate limits and logs.",
    )
    source_ranges: Cidrs = Field(
        (), examples=[["192.0.2.0/24"]], description="Addresses of the clients that may connect. Default: all."
    )


class NginxSettings(Section):
    """nginx as the load balancer, for `edge.kind: nginx`."""

    image: Image = Field("nginxinc/nginx-unprivileged:1.30.4", description="Image of nginx.")
    http_port: HostPort = Field(80, description="HTTP port, which redirects to HTTPS.")
    https_port: HostPort = Field(443, description="HTTPS port.")
    replicas: int = Field(1, ge=1, le=100, description="Number of replicas.")
    memory_mib: int = Field(64, ge=32, description="Memory limit in MiB.")
    load_balancer: LoadBalancerSettings = Field(
        default_factory=LoadBalancerSettings, description="The cluster's load balancer in front of nginx."
    )


class IngressSettings(Section):
    """An Ingress for the cluster's controller, for `edge.kind: ingress`."""

    class_name: str | None = Field(
        None, min_length=1, examples=["traefik"], description="Ingress class. Default: the cluster's default class."
    )
    annotations: Mapping[str, Text] = Field(
        {},
        examples=[{"traefik.ingress.kubernetes.io/router.entrypoints": "websecure"}],
        description="Annotations of the Ingress for its controller, such as redirects, headers or a larger body.",
    )


class GatewayApiSettings(Section):
    """HTTPRoutes for a Gateway of the cluster, for `edge.kind: gateway-api`."""

    gateway: DnsLabel | None = Field(
        None, examples=["public"], description="The Gateway that the HTTPRoutes attach to. Required with this kind."
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

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.http_listener and self.https_listener in (None, self.http_listener):
            problem = f"must name a listener other than httpListener ({self.http_listener}), which redirects to it"
            raise SettingsConflict({"httpsListener": Conflict(problem, set_command("LISTENER"))})
        return self


class EdgeSettings(Section):
    """The edge, in front of the API gateway."""

    kind: Literal["nginx", "ingress", "gateway-api"] = Field(
        "nginx",
        description="`nginx`: the platform's own load balancer; `ingress`: an Ingress for the cluster's controller; "
        "`gateway-api`: HTTPRoutes for a Gateway of the cluster.",
    )
    controller_namespace: DnsLabel = Field(
        "ingress",
        examples=["traefik"],
        description="Namespace of the pods of the cluster's Ingress or Gateway controller, from which users' requests "
        "arrive.",
    )
    nginx: NginxSettings = Field(default_factory=NginxSettings, description="Used with the kind `nginx`.")
    ingress: IngressSettings = Field(default_factory=IngressSettings, description="Used with the kind `ingress`.")
    gateway_api: GatewayApiSettings = Field(
        default_factory=GatewayApiSettings, description="Used with the kind `gateway-api`."
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        unused = [section for kind, section in SECTIONS.items() if kind != self.kind]
        if self.kind == "nginx":
            unused.append("controller_namespace")
        found = unused_keys(self, unused, reason=f"with the kind '{self.kind}'")
        if self.kind == "nginx" and self.nginx.http_port == self.nginx.https_port:
            problem = f"is the same as httpPort ({self.nginx.http_port})"
            found["nginx.httpsPort"] = Conflict(problem, set_command("OTHER_PORT"))
        if self.kind == "gateway-api" and self.gateway_api.gateway is None:
            found["gatewayApi.gateway"] = Conflict("is required with the kind 'gateway-api'", set_command("GATEWAY"))
        if found:
            raise SettingsConflict(found)
        return self

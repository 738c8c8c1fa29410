"""Where the platform runs, and where its images come from."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from settings.base import (
    Cidrs,
    Conflict,
    DnsLabel,
    HostName,
    Section,
    SettingsConflict,
    ipv4_text,
    set_to,
    unused_keys,
)


class Backend(Section):
    """Where the platform runs."""

    kind: Literal["docker", "kubernetes"] = Field(
        "docker", description="`docker`: one Docker engine; `kubernetes`: a cluster, described under `kubernetes`."
    )
    host: str | None = Field(
        None,
        pattern=r"^(unix|tcp|ssh|npipe)://.+$",
        examples=["unix:///var/run/docker.sock"],
        description="Docker: the engine's address. Without it `DOCKER_HOST` decides, then the local socket.",
    )
    bind_address: Annotated[IPv4Address, BeforeValidator(ipv4_text)] = Field(
        IPv4Address("127.0.0.1"),
        strict=False,
        description="Docker: host address that published ports bind to. Anything but loopback opens the stores to the "
        "network.",
    )
    published_host: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$",
        examples=["engine.example.com"],
        description="Docker: host name or address under which people reach the published ports, and which Kafka sends "
        "its clients to. Without it, `bindAddress`.",
    )

    @property
    def reached_at(self) -> str:
        """Where the published ports are."""
        return self.published_host or str(self.bind_address)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        of_docker = ("host", "bind_address", "published_host")
        if self.kind != "docker" and (unused := unused_keys(self, of_docker, reason=f"with kind '{self.kind}'")):
            raise SettingsConflict(unused)
        if self.bind_address.is_unspecified and self.published_host is None:
            problem = f"is required, as bindAddress {self.bind_address} is no address that clients can use"
            raise SettingsConflict({"publishedHost": Conflict(problem, set_to("HOST"))})
        return self


class Kubernetes(Section):
    """The cluster, for `backend.kind: kubernetes`."""

    kubeconfig: str | None = Field(
        None,
        min_length=1,
        examples=["~/.kube/config"],
        description="Path of the kubeconfig file. Needed; the one of the environment is never used by surprise.",
    )
    context: str | None = Field(
        None, min_length=1, examples=["production"], description="The kubeconfig's context to use. Needed."
    )
    namespace: DnsLabel = Field(
        "pti-calendar", examples=["pti-calendar"], description="Namespace, made by the stack and kept when it goes."
    )
    cluster_domain: HostName = Field(
        "cluster.local", examples=["cluster.local"], description="The cluster's own DNS domain."
    )
    storage_class: str | None = Field(
        None,
        examples=["fast-ssd"],
        description="Storage class of the volumes; without it the cluster's default one. It should allow expansion.",
    )
    pull_secrets: tuple[DnsLabel, ...] = Field(
        (),
        strict=False,
        description="Names of Secrets of the namespace with which images are pulled.",
    )
    dns_cidrs: Cidrs = Field(
        ("169.254.20.10/32",),
        description="Addresses of name servers outside kube-system, such as a node-local cache's.",
    )
    connect_timeout_s: int = Field(5, ge=1, le=120, description="Seconds the API server may take to answer at all.")


class Images(Section):
    """Where images come from."""

    registry: str | None = Field(
        None,
        pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*(:\d+)?(/[a-z0-9._-]+)*$",
        examples=["registry.example.com/mirror"],
        description="Mirror prefix put before every image, for companies that pull through a registry of their own.",
    )

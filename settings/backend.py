"""Docker engine or Kubernetes cluster that runs the platform, and the mirrors of its images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from capabilities import BACKENDS
from settings.base import (
    Cidrs,
    Conflict,
    DnsLabel,
    HostName,
    Section,
    SettingsConflict,
    ipv4_text,
    set_command,
    unused_keys,
)

PRIVATE_RANGES = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
"""Kong trusts the client address that an edge in these ranges reports (`components/gateway/kong.py`)."""


def _private_range(value: Any) -> IPv4Network:
    try:
        pool = IPv4Network(value) if isinstance(value, str | IPv4Network) else None
    except ValueError:
        pool = None
    if pool is None or pool.prefixlen > 20 or not any(map(pool.subnet_of, PRIVATE_RANGES)):
        raise ValueError("a private IPv4 range from /8 to /20, such as '10.192.0.0/12'")
    return pool


def within(network: IPv4Network, host: str) -> bool:
    """Return whether a host is an address in a network. A host name never is."""
    try:
        return ip_address(host) in network
    except ValueError:
        return False


def _known(kind: str) -> str:
    if kind not in BACKENDS:
        raise ValueError("one of " + ", ".join(map(repr, BACKENDS)))
    return kind


BackendKind = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": [*BACKENDS]})]


class BackendSettings(Section):
    """Backend that runs the platform."""

    kind: BackendKind = Field(
        "docker", description="`docker`: one Docker engine; `kubernetes`: the cluster under the key `kubernetes`."
    )
    host: str | None = Field(
        None,
        pattern=r"^(unix|tcp|ssh|npipe)://.+$",
        examples=["unix:///var/run/docker.sock"],
        description="Docker: the engine's address. Default: the engine of the docker command, which `DOCKER_HOST`, "
        "`DOCKER_CONTEXT` or `docker context use` chooses; this key takes precedence.",
    )
    bind_address: Annotated[IPv4Address, BeforeValidator(ipv4_text)] = Field(
        IPv4Address("127.0.0.1"),
        strict=False,
        description="Docker: host address to which published ports are bound. Any address other than loopback exposes "
        "the stores to the network.",
    )
    published_host: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$",
        examples=["engine.example.com"],
        description="Docker: host name or address that clients use for the published ports. Kafka advertises it to its "
        "clients. Default: `bindAddress`.",
    )

    network_pool: Annotated[IPv4Network, BeforeValidator(_private_range)] = Field(
        IPv4Network("10.192.0.0/12"),
        strict=False,
        json_schema_extra={"format": "ipv4network"},
        description="Docker: address range of the stack's networks. Each new network gets 256 addresses from it; an "
        "existing one keeps its addresses. Choose a range that nothing outside the stack uses.",
    )

    @property
    def published_address(self) -> str:
        """Return the host address of the published ports."""
        return self.published_host or str(self.bind_address)

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        own = BACKENDS[self.kind].backend_keys
        names = [key for row in BACKENDS.values() for key in row.backend_keys if key not in own]
        if unused := unused_keys(self, names, reason=f"with kind '{self.kind}'"):
            raise SettingsConflict(unused)
        if self.bind_address.is_unspecified and self.published_host is None:
            problem = f"is required, as bindAddress {self.bind_address} isn't an address that clients can use"
            raise SettingsConflict({"publishedHost": Conflict(problem, set_command("HOST"))})
        if within(self.network_pool, self.published_address):
            problem = (
                f"is {self.network_pool}, which contains {self.published_address}, the address of the published ports"
            )
            raise SettingsConflict({"networkPool": Conflict(problem, set_command("OTHER_RANGE"))})
        return self


DNS_PORT = 53


class DnsSettings(Section):
    """The cluster's DNS servers, which the network policies allow."""

    namespace: DnsLabel = Field(
        "kube-system",
        examples=["openshift-dns"],
        description="Namespace of the DNS servers' pods. See [clusters.md](clusters.md#dns).",
    )
    port: int = Field(
        DNS_PORT, ge=1, le=65535, description="Port of the DNS servers' pods; their Service has port 53 in any case."
    )
    cidrs: Cidrs = Field(
        ("169.254.20.10/32",),
        description="Addresses of DNS servers that aren't pods, such as a cache on each node. Port 53.",
    )


class KubernetesSettings(Section):
    """The cluster, for `backend.kind: kubernetes`."""

    kubeconfig: str | None = Field(
        None,
        min_length=1,
        examples=["~/.kube/config"],
        description="Path of the kubeconfig file. Required; the environment's kubeconfig is never used implicitly.",
    )
    context: str | None = Field(
        None, min_length=1, examples=["production"], description="Context of the kubeconfig file. Required."
    )
    min_version: str = Field(
        "1.28",
        pattern=r"^1\.(2[89]|[3-9][0-9])$",
        examples=["1.33"],
        description="Oldest Kubernetes version that the objects must work with. An update refuses an older cluster. "
        "From 1.33 on, the kubelet delays the stop of a pod. In older clusters, the image must contain the command "
        "`sleep` for this.",
    )
    namespace: DnsLabel = Field(
        "pti-calendar",
        examples=["pti-calendar"],
        description="Namespace. The stack creates it; `pulumi destroy` keeps it.",
    )
    cluster_domain: HostName = Field(
        "cluster.local", examples=["cluster.local"], description="DNS domain of the cluster."
    )
    storage_class: str | None = Field(
        None,
        examples=["fast-ssd"],
        description="Storage class of the volumes; it should allow expansion. Default: the cluster's default class.",
    )
    image_pull_secrets: tuple[DnsLabel, ...] = Field(
        (),
        strict=False,
        description="Names of the namespace's Secrets for pulling images.",
    )
    dns: DnsSettings = Field(default_factory=DnsSettings, description="The cluster's DNS servers.")
    connect_timeout_s: int = Field(
        5, ge=1, le=120, description="Timeout in seconds for the API server's first response."
    )

    @property
    def min_minor(self) -> int:
        """Return the minor version number of `min_version`."""
        return int(self.min_version.partition(".")[2])


HOST_PATTERN = r"localhost|[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)+(:\d+)?|[a-z0-9][a-z0-9-]*:\d+"
"""Registry as an image reference names it: a first part without a dot or a port is a namespace of Docker Hub."""

Repositories = Annotated[str, Field(pattern=rf"^({HOST_PATTERN})(/[a-z0-9._-]+)*$")]

DOCKER_HUB = "docker.io"


class ImagesSettings(Section):
    """Mirrors of the images."""

    mirrors: Mapping[Repositories, Repositories] = Field(
        {},
        examples=[{"docker.io": "harbor.example.com/dockerhub"}],
        description="Registries that replace the upstream ones. A name is an upstream registry (`docker.io`) "
        "or a part of one (`docker.io/library`); the longest match is replaced with its value. The mirror of a "
        "whole registry doesn't apply to the images of services and front ends. See "
        "[clusters.md](clusters.md#image-mirrors).",
    )

    def pulled(self, image: str, *, is_upstream: bool) -> str:
        """Return the reference that an image is pulled by: from the mirror for the longest part of its full name."""
        name = _full_name(image)
        named = [one for one in self.mirrors if is_upstream or "/" in one]
        mirrored = [one for one in named if re.match(re.escape(one) + ("[/:@]" if "/" in one else "/"), name)]
        if not mirrored:
            return image
        longest = max(mirrored, key=len)
        return f"{self.mirrors[longest]}{name.removeprefix(longest)}"


def _full_name(image: str) -> str:
    """Return an image reference with its registry and, on Docker Hub, its namespace."""
    registry, slash, repository = image.partition("/")
    if not (slash and re.fullmatch(HOST_PATTERN, registry)):
        registry, repository = DOCKER_HUB, image
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return f"{registry}/{repository}"

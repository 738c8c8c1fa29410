"""Endpoints of workloads and external stores, and who may connect to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Endpoint:
    """A port of a workload, for the workloads that call it."""

    workload: str
    """Its name."""

    port: int
    """TCP port inside the platform; the port published to people may be another."""

    alias: str = ""
    """Host name where it isn't the workload's own."""

    @property
    def host(self) -> str:
        """The host name a caller connects to."""
        return self.alias or self.workload

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class External:
    """A server outside the platform, for the workloads that call it."""

    host: str
    """Host name or address."""

    port: int
    cidrs: tuple[str, ...] = ()
    """Address ranges it lies in, in CIDR notation; none stands for every public address."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


ENGINE_HOST = "host.docker.internal"
"""Host name of the machine that the engine runs on, for workloads with `calls_host`."""

INTERNET = External("the internet", 443)
"""Any public address over TLS."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """A TCP port the container listens on."""

    name: str
    number: int
    publish: int | None = None
    """Port on which people reach it; None keeps it inside.

    Docker binds it on the host, at the address of the backend's settings. A cluster opens it to the outside for a
    `public` one; for the others `kubectl port-forward` is the way, with whatever number a person likes.
    """

    public: bool = False
    """Whether the users of the platform reach it, too."""

    operators_only: bool = False
    """Whether it is for people with access to the host or the cluster alone. It listens at
    `Addressing.admin_bind_address`, and no Service of a cluster leads to it."""


Job = Literal[
    "service",
    "frontend",
    "kong",
    "nginx",
    "certificate",
    "postgres",
    "redis",
    "kafka",
    "node",
    "kubelet",
    "kube-state-metrics",
    "cloudnativepg",
    "prometheus",
    "alertmanager",
    "grafana",
]
"""Kinds of targets: the label `job` of their series, by which the alert rules tell them apart."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Where the workload tells its figures, in Prometheus' text format."""

    port: int
    job: Job

    path: str = "/metrics"
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Of the request: what to look at, for an exporter that is told so by whoever asks."""

    about: str | None = None
    """The workload that they are about, where it is another one: an exporter speaks for a store."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """Where a workload that tells no figures says that it is well: it answers 200 to a GET."""

    port: int
    path: str
    job: Job

"""Endpoints of workloads and external stores, and the allowed connections to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Endpoint:
    """A port of a workload, for the workloads that connect to it."""

    workload: str
    """Name of the workload."""

    port: int
    """TCP port inside the platform; the published port may differ."""

    alias: str = ""
    """Host name, if it isn't the workload's name."""

    @property
    def host(self) -> str:
        """Return the host name that clients connect to."""
        return self.alias or self.workload

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class ExternalEndpoint:
    """A server outside the platform, for the workloads that connect to it."""

    host: str
    """Host name or address."""

    port: int
    cidrs: tuple[str, ...] = ()
    """Address ranges of the server in CIDR notation; empty means every public address."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


INTERNET = ExternalEndpoint("the internet", 443)
"""Any public address over TLS."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """A TCP port the container listens on."""

    name: str
    number: int
    publish: int | None = None
    """Port published outside the platform; None publishes nothing.

    A backend with host ports binds it on the host. Other backends open only `public` ports; an operator reaches
    the others by the command of `Addressing.port_forward_template`.
    """

    public: bool = False
    """Whether the platform's users may also reach it."""

    admin_only: bool = False
    """Whether only operators with access to the backend may reach it: it listens at `Addressing.admin_bind_address`,
    and other workloads can't connect to it."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Endpoint of the workload's metrics, in the text exposition format."""

    port: int
    job: str
    """Label `job` of their series, by which the alert rules distinguish kinds of targets."""

    path: str = "/metrics"
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Query parameters of the scrape, such as the target that a multi-target exporter probes."""

    workload: str | None = None
    """The workload that the metrics describe, if it is a different one: an exporter exports a store's metrics."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """Health endpoint of a workload without metrics: it returns 200 to a GET."""

    port: int
    path: str
    job: str

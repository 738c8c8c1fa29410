"""The protocol of a store, through which all other components use it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from backends.base import Backend
from components.credentials import Credentials
from contract.outputs import StoreOutput
from settings import Settings
from settings.monitoring import ExportersSettings
from settings.tools import DevToolsSettings
from workloads import Endpoint, ExternalEndpoint, Workload

Output = TypeVar("Output", bound=StoreOutput)


@dataclass(frozen=True, kw_only=True)
class StoreArgs:
    """Arguments of every store."""

    settings: Settings
    backend: Backend
    credentials: Credentials
    cluster: str
    """Name of the stack, which a store may save in its data."""

    def published(self, endpoint: Endpoint | ExternalEndpoint, port: int) -> tuple[str, int]:
        """Return host and port of an endpoint for users; `port` is the host port on Docker."""
        if isinstance(endpoint, ExternalEndpoint):
            return endpoint.host, endpoint.port
        return self.backend.addressing.published(endpoint, port)


@dataclass(frozen=True, kw_only=True)
class ServerMetrics:
    """Servers that report their own metrics."""

    endpoint: Endpoint
    instances: int
    job: str


@dataclass(frozen=True, kw_only=True)
class Store(ABC, Generic[Output]):
    """A store of the stack, whether the stack runs it or not.

    Each store is a module of this package, which has a function `deploy(args: StoreArgs, options: DeployOptions) ->
    Store`. Its section of the settings, its module, its output and its field of the output `credentials` have the same
    name.
    """

    args: StoreArgs
    connects_to: tuple[Endpoint | ExternalEndpoint, ...]
    """Endpoints that clients of the store connect to."""

    depends_on: tuple[str, ...]
    """Workloads that must be ready before clients of the store start; empty for a managed server."""

    internal: Output
    """Address of the store for workloads."""

    published: Output
    """Address of the store for users and programs outside the platform: the stack output."""

    server_metrics: ServerMetrics | None = None
    """Servers of the store, if they report metrics in addition to the exporter's."""

    @property
    @abstractmethod
    def secret(self) -> Any:
        """Return the value of the store's field of `contract.CredentialsOutput`."""

    def exporter(self, images: ExportersSettings) -> Workload | None:
        """Return the exporter of the store's metrics; None if the store's own workload reports metrics."""
        return None

    def web_tool(self, tools: DevToolsSettings) -> Workload | None:
        """Return the web tool in which developers see the store; None if there is none."""
        return None


StoreType = TypeVar("StoreType", bound=Store[Any])

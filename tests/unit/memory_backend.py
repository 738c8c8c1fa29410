"""A third backend, which records workloads in memory. It imports only what a backend's package may import."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from backends.base import Addressing, DeployOptions
from backends.deployment_graph import DeploymentGraph
from backends.refusals import refuse_unsupported
from capabilities import BackendSpec, Capability
from settings import Settings
from workloads import Workload

ROW = BackendSpec(
    title="Memory",
    module=__name__,
    unsupported={
        Capability.EDGE: "memory has no edge",
        Capability.CERTIFICATES: "memory has no issuer",
        Capability.POSTGRES_OPERATOR: "memory has no operator",
        Capability.REPLICAS: "memory is short",
        Capability.NODE_METRICS: "memory has no nodes",
        Capability.DEPLOYED_OBJECTS: "memory has no objects",
        Capability.HOST_GATEWAY: "memory has no host",
        Capability.HOST_PORTS: "memory has no ports of a host",
        Capability.HOST_METRICS: "memory measures nothing",
    },
)


class MemoryBackend:
    """Records workloads with the names of their parent components."""

    kind = "memory"
    edge = certificate_issuer = postgres_operator = None
    addressing = Addressing(
        admin_bind_address="127.0.0.1",
        domain="pti.local",
        port_forward_template="recall {host}:{port}",
        namespace="pti",
    )

    def __init__(self, stack: str) -> None:
        self.stack = stack
        self.owners: dict[str, str] = {}
        self._graph = DeploymentGraph()

    def preflight(self, published: Iterable[tuple[str, int]]) -> None:
        """Do nothing: there is no external system to check."""

    def deploy(self, workload: Workload, options: DeployOptions) -> None:
        """Record a workload."""
        refuse_unsupported(workload, self.kind)
        self._graph.add(workload)
        self.owners[workload.name] = type(options.parent).__name__

    @property
    def deployed(self) -> Sequence[Workload]:
        """Return the recorded workloads."""
        return self._graph.workloads


def create(settings: Settings, stack: str) -> MemoryBackend:
    """Return the backend for a stack's settings."""
    return MemoryBackend(stack)

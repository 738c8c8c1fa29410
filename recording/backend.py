"""A backend that records the platform's neutral workloads, without a provider."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from backends.base import Addressing, DeployOptions
from workloads import CertificateRequest, Endpoint, Exposure, PostgresCluster, Workload


class RecordingBackend:
    """Records the components' calls, in order."""

    addressing = Addressing(admin_bind_address="127.0.0.1", published_host="127.0.0.1", host_gateway="host-gateway")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        """Backend whose capabilities it has; it accepts all workloads."""

        self.edge = self.certificate_issuer = self.postgres_operator = self
        self.workloads: list[tuple[str, Workload]] = []
        """Each with the class of its component."""

        self.exposures: list[Exposure] = []
        self.certificates: list[CertificateRequest] = []
        self.postgres_clusters: list[PostgresCluster] = []

    def preflight(self, published: Iterable[tuple[str, int]]) -> None:
        """Do nothing: no port is bound."""

    def deploy(self, workload: Workload, options: DeployOptions) -> None:
        """Record the workload with its component."""
        self.workloads.append((type(options.parent).__name__, workload))

    def expose(self, exposure: Exposure, options: DeployOptions) -> None:
        """Record the exposure."""
        self.exposures.append(exposure)

    def request_certificate(self, request: CertificateRequest, options: DeployOptions) -> None:
        """Record the request."""
        self.certificates.append(request)

    def deploy_postgres_cluster(self, cluster: PostgresCluster, options: DeployOptions) -> Endpoint:
        """Record the cluster; the name of its primary is its own name with `-rw`."""
        self.postgres_clusters.append(cluster)
        return Endpoint(cluster.name, 5432, alias=f"{cluster.name}-rw")

    @property
    def deployed(self) -> Sequence[Workload]:
        """Return all recorded workloads."""
        return [workload for _, workload in self.workloads]

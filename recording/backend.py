"""A backend that records what it is asked to run: the platform as neutral workloads, without a provider."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from backends.base import Addressing, DeployOptions
from workloads import CertificateRequest, Endpoint, Exposure, PostgresCluster, Workload


class RecordingBackend:
    """The calls of the components, in their order."""

    addressing = Addressing(admin_bind_address="127.0.0.1", published_host="127.0.0.1")

    kind = "recording"

    def __init__(self) -> None:
        self.edge = self.certificate_issuer = self.postgres_operator = self
        self.workloads: list[tuple[str, Workload]] = []
        """Each with the class of the component it belongs to."""

        self.exposures: list[Exposure] = []
        self.certificates: list[CertificateRequest] = []
        self.postgres_clusters: list[PostgresCluster] = []

    def check(self, published: Iterable[tuple[str, int]]) -> None:
        """Nothing is bound."""

    def deploy(self, workload: Workload, options: DeployOptions) -> None:
        """Remembers the workload with the component it belongs to."""
        self.workloads.append((type(options.parent).__name__, workload))

    def expose(self, exposure: Exposure, options: DeployOptions) -> None:
        """Remembers the exposure."""
        self.exposures.append(exposure)

    def request_certificate(self, request: CertificateRequest, options: DeployOptions) -> None:
        """Remembers the request."""
        self.certificates.append(request)

    def deploy_postgres_cluster(self, cluster: PostgresCluster, options: DeployOptions) -> Endpoint:
        """Remembers the cluster, and takes its name with `-rw` for that of its primary."""
        self.postgres_clusters.append(cluster)
        return Endpoint(cluster.name, 5432, alias=f"{cluster.name}-rw")

    @property
    def deployed(self) -> Sequence[Workload]:
        """Every workload so far."""
        return [workload for _, workload in self.workloads]

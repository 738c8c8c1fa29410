"""What a backend is: it turns a workload into resources of its provider."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import pulumi

from workloads import CertificateRequest, Endpoint, Exposure, PostgresCluster, Workload


class Backend(Protocol):
    """Where workloads run."""

    def check(self, published: Iterable[tuple[str, int]]) -> None:
        """Looks whether an update could go on, before anything is declared. A preview only warns.

        Args:
            published: configuration key and number of each port that people are to reach.

        Raises:
            pulumi.RunError: saying what is in the way and what to do.
        """
        ...

    def deploy(self, workload: Workload, *, parent: pulumi.Resource) -> None:
        """Declares the resources of one workload below `parent`.

        Workloads are deployed in the order of their needs. From then on, callers reach it at
        `<workload name>:<port>`, and people at `reached_at`.

        Raises:
            WorkloadError: on anything this backend can't honour, and on needs or calls not deployed before.
        """
        ...

    def expose(self, exposure: Exposure, *, parent: pulumi.Resource) -> None:
        """Leads host names to workloads that are deployed already, through the platform's own edge.

        Raises:
            WorkloadError: where it has none.
        """
        ...

    def request_certificate(self, request: CertificateRequest, *, parent: pulumi.Resource) -> None:
        """Has a certificate kept in the Secret of the request's name, for a `FileSet` or an `Exposure`.

        Raises:
            WorkloadError: where nothing issues certificates.
        """
        ...

    def deploy_postgres_cluster(self, cluster: PostgresCluster, *, parent: pulumi.Resource) -> Endpoint:
        """Declares PostgreSQL on several nodes; gives the endpoint of its primary. It counts as a deployed workload.

        Raises:
            WorkloadError: where there is only one node.
        """
        ...

    @property
    def deployed(self) -> Sequence[Workload]:
        """What has been deployed so far, in that order."""
        ...

    @property
    def replicas_namespace(self) -> str | None:
        """DNS namespace in which `<workload>-pods` names each replica of a workload with metrics; None where a
        workload has one replica, under its own name."""
        ...

    @property
    def operators_listen_at(self) -> str:
        """Address inside the container on which a port for operators alone listens: `kubectl port-forward` reaches a
        pod's loopback, a published port of Docker doesn't reach a container's."""
        ...

    def qualified_host(self, workload: str) -> str:
        """The workload's host name for a resolver that adds no search domain."""
        ...

    def reached_at(self, endpoint: Endpoint, publish: int) -> tuple[str, int]:
        """Host and port for people and for programs beside the platform.

        On Docker the published port of the host; in a cluster its own name there, which `kubectl port-forward` leads to
        from outside.
        """
        ...

    def forwarding(self, endpoint: Endpoint) -> str | None:
        """The command with which a person reaches an endpoint at its own port of 127.0.0.1.

        None where `reached_at` is an address that people reach.
        """
        ...

"""The protocol of a backend, which turns workloads into resources of its provider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pulumi

from workloads import CertificateRequest, Endpoint, Exposure, PostgresCluster, Workload


@dataclass(frozen=True, kw_only=True)
class DeployOptions:
    """How the resources of one workload are registered, beside what the workload itself declares."""

    parent: pulumi.Resource | None = None
    """Component that owns them; None: the stack."""

    aliases: tuple[pulumi.Alias, ...] = ()
    """Former addresses, of each of them: `pulumi.Alias(parent=…)` after a move to another component."""

    retain: bool = False
    """Whether they outlive the stack. Data always does."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Inputs of the container or controller that runs the workload, in the provider's own terms. A mapping is merged,
    any other value replaces what the backend declares."""

    def resource(self, **own: Any) -> pulumi.ResourceOptions:
        """Return the options of one resource of the workload."""
        own.setdefault("retain_on_delete", self.retain or None)
        return pulumi.ResourceOptions(parent=self.parent, aliases=[*self.aliases] or None, **own)


class Backend(Protocol):
    """A platform that workloads run on."""

    def check(self, published: Iterable[tuple[str, int]]) -> None:
        """Check whether an update can succeed, before any resource is declared. A preview only warns.

        Args:
            published: configuration key and number of each port that people are to reach.

        Raises:
            pulumi.RunError: names the problem and the fix.
        """
        ...

    def deploy(self, workload: Workload, options: DeployOptions) -> None:
        """Declare the resources of one workload.

        Workloads are deployed in the order of their needs. From then on, callers reach it at
        `<workload name>:<port>`, and people at `reached_at`.

        Raises:
            WorkloadError: the backend doesn't support it, or what it needs or calls isn't deployed yet.
        """
        ...

    def expose(self, exposure: Exposure, options: DeployOptions) -> None:
        """Route host names to deployed workloads, through the edge of the platform.

        Raises:
            WorkloadError: where it has none.
        """
        ...

    def request_certificate(self, request: CertificateRequest, options: DeployOptions) -> None:
        """Request a certificate in a Secret of the request's name, for a `FileSet` or an `Exposure`.

        Raises:
            WorkloadError: where nothing issues certificates.
        """
        ...

    def deploy_postgres_cluster(self, cluster: PostgresCluster, options: DeployOptions) -> Endpoint:
        """Declare PostgreSQL on several nodes, as a deployed workload. Return the endpoint of its primary.

        Raises:
            WorkloadError: where there is only one node.
        """
        ...

    @property
    def deployed(self) -> Sequence[Workload]:
        """The workloads that are deployed so far, in that order."""
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
        """Return the workload's fully qualified host name, for a resolver without search domains."""
        ...

    def reached_at(self, endpoint: Endpoint, publish: int) -> tuple[str, int]:
        """Return host and port for people, and for programs outside the platform.

        On Docker the published port of the host; in a cluster its own name there, which `kubectl port-forward` leads to
        from outside.
        """
        ...

    def forwarding(self, endpoint: Endpoint) -> str | None:
        """Return the command that forwards an endpoint to the same port of 127.0.0.1.

        None where `reached_at` is an address that people reach.
        """
        ...

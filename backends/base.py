"""The protocol of a backend, which turns workloads into resources of its provider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pulumi

from workloads import CertificateRequest, Endpoint, Exposure, PostgresCluster, Workload


@dataclass(frozen=True, kw_only=True)
class DeployOptions:
    """Options with which the resources of one workload are registered, in addition to the workload's own
    declaration."""

    parent: pulumi.Resource | None = None
    """Component that owns the resources; None: the stack."""

    aliases: tuple[pulumi.Alias, ...] = ()
    """Former addresses (aliases) of each resource: `pulumi.Alias(parent=…)` after a move to another component."""

    retain: bool = False
    """Whether the resources outlive the stack. Data always does."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Inputs of the container or controller that runs the workload, in the provider's own terms. A mapping is merged,
    any other value replaces what the backend declares."""

    def resource_options(self, **specific: Any) -> pulumi.ResourceOptions:
        """Return the options of one resource of the workload."""
        specific.setdefault("retain_on_delete", self.retain or None)
        return pulumi.ResourceOptions(parent=self.parent, aliases=[*self.aliases] or None, **specific)


@dataclass(frozen=True, kw_only=True)
class Addressing:
    """Names and addresses of a backend's workloads. They are fixed before the first one is deployed."""

    admin_bind_address: str
    """Address inside the container on which an admin port listens. `kubectl port-forward` reaches a pod's loopback; a
    port that Docker publishes doesn't reach a container's."""

    domain: str = ""
    """DNS domain of the workloads' names, for a resolver without search domains; empty if their names
    are complete."""

    replicas: str | None = None
    """DNS name that resolves to every replica of a workload with metrics, with `{workload}` for its name. None: a
    workload has one replica, under its own name."""

    published_host: str | None = None
    """Host of the published ports. None: no port is published; use `port_forward_template` instead."""

    port_forward_template: str | None = None
    """Command that forwards a port to 127.0.0.1, with `{host}` and `{port}`. None: it isn't needed."""

    namespace: str = ""
    """Namespace of the platform's objects; empty for a backend without namespaces."""

    host_gateway: str | None = None
    """Host name by which a workload with `host_gateway` reaches the machine that the platform runs on; None for a
    backend without `Capability.HOST_GATEWAY`."""

    def fqdn(self, workload: str) -> str:
        """Return the workload's host name, for a resolver without search domains."""
        return f"{workload}.{self.domain}" if self.domain else workload

    def published(self, endpoint: Endpoint, publish: int) -> tuple[str, int]:
        """Return host and port for users and programs outside the platform; `publish` is the port on the host."""
        if self.published_host is not None:
            return self.published_host, publish
        return self.fqdn(endpoint.host), endpoint.port

    def port_forward_command(self, endpoint: Endpoint) -> str | None:
        """Return the command that makes an endpoint available on the same port of 127.0.0.1."""
        return (
            self.port_forward_template.format(host=endpoint.host, port=endpoint.port)
            if self.port_forward_template
            else None
        )


class Edge(Protocol):
    """Optional: the edge of a backend (`Capability.EDGE`)."""

    def expose(self, exposure: Exposure, options: DeployOptions) -> None:
        """Route host names to deployed workloads."""
        ...


class CertificateIssuer(Protocol):
    """Optional: the issuer of certificates (`Capability.CERTIFICATES`)."""

    def request_certificate(self, request: CertificateRequest, options: DeployOptions) -> None:
        """Request a certificate, which a `FileSet` or an `EdgeEntry` then uses. It is stored in a secret with the
        request's name."""
        ...


class PostgresOperator(Protocol):
    """Optional: the operator that runs PostgreSQL on several nodes (`Capability.POSTGRES_OPERATOR`)."""

    def deploy_postgres_cluster(self, cluster: PostgresCluster, options: DeployOptions) -> Endpoint:
        """Declare PostgreSQL on several nodes, as a deployed workload. Return the endpoint of its primary."""
        ...


class Backend(Protocol):
    """A platform that workloads run on. `backends.refusals.require_part` returns an optional part, or refuses."""

    @property
    def kind(self) -> str:
        """Key of the backend's row in `capabilities.BACKENDS`."""
        ...

    @property
    def edge(self) -> Edge | None: ...

    @property
    def certificate_issuer(self) -> CertificateIssuer | None: ...

    @property
    def postgres_operator(self) -> PostgresOperator | None: ...

    def preflight(self, published: Iterable[tuple[str, int]]) -> None:
        """Check this machine, and the engine or cluster, before Pulumi registers a resource.

        Call it once everything is declared: what it finds then changes no resource, so that a plan that one machine
        saved (`pulumi preview --save-plan`) is valid on another one. A hook would come too late: a replaced container
        is removed before the hooks of its successor run.

        Args:
            published: configuration key and number of each published port.

        Raises:
            pulumi.RunError: names the problem and the fix. A preview only warns if the engine or the cluster can't be
                reached, or if a port is taken.
        """
        ...

    def deploy(self, workload: Workload, options: DeployOptions) -> None:
        """Declare the resources of one workload.

        Workloads are deployed in dependency order. From then on, callers connect to `<workload name>:<port>`, and users
        to the address from `Addressing.published`.

        Raises:
            WorkloadError: the backend doesn't support it, or a workload that it depends on or connects to isn't
                deployed yet.
        """
        ...

    @property
    def deployed(self) -> Sequence[Workload]:
        """The workloads deployed so far, in order."""
        ...

    @property
    def addressing(self) -> Addressing:
        """Names and addresses of the backend's workloads."""
        ...

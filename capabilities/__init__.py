"""The backends, and what each offers in addition to running workloads.

The settings' rules and the backends both read this table, so each refusal is written only here. A new backend needs its
own package and a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto


class Capability(Enum):
    """A feature that not every backend offers."""

    REPLICAS = auto()
    """Several replicas of a workload."""

    AUTOSCALING = auto()
    EDGE = auto()
    """Routing of host names by the cluster: an Ingress, or the Gateway API."""

    LOAD_BALANCERS = auto()
    """Load balancers in front of public ports."""

    CERTIFICATES = auto()
    """Certificates that an issuer signs and renews."""

    EXTERNAL_SECRETS = auto()
    """File sets whose content another party manages."""

    POSTGRES_OPERATOR = auto()
    """PostgreSQL on several nodes with failover."""

    HOST_ALIASES = auto()
    """Endpoints with a name other than their workload's."""

    NODE_METRICS = auto()
    """Metrics of the machines, from the platform's own agents."""

    DEPLOYED_OBJECTS = auto()
    """Reading the objects that other workloads consist of."""

    HOST_GATEWAY = auto()
    """Connections to the machine that the platform runs on."""

    HOST_PORTS = auto()
    """Ports that are bound on a host."""

    HOST_METRICS = auto()
    """Metrics of the machine that the platform runs on."""

    WELL_KNOWN_PASSWORDS = auto()
    """A platform that only its developer can reach."""

    TOOLS_WITHOUT_LOGIN = auto()
    """Web tools that only their developer can reach."""


@dataclass(frozen=True, kw_only=True)
class BackendSpec:
    """One backend."""

    title: str
    """Name of the backend in messages."""

    module: str
    """Module with `create(settings, stack)`. Only the chosen one is imported, and with it the provider's SDK."""

    renderer: str | None = None
    """Module with `write` (`operations.render.render.Write`); None: `make render` doesn't support this backend."""

    runtime: str | None = None
    """Module with status, logs and wipe (`operations.runtimes.Runtime`); None: the `make` commands don't support this
    backend."""

    backend_keys: tuple[str, ...] = ()
    """Keys of the section `backend` that this backend uses, in addition to `kind`."""

    section: str | None = None
    """Section of the settings that only this backend uses."""

    required: Mapping[str, str] = field(default_factory=dict)
    """Keys of the section that must be set, each with a placeholder of its value. The settings refuse a stack without
    them, so the backend's modules don't check them again."""

    preview_values: Mapping[str, str] = field(default_factory=dict)
    """Keys of the section that `make preview` replaces, with values that lead nowhere. Pulumi may warn about them."""

    unsupported: Mapping[Capability, str] = field(default_factory=dict)
    """Capabilities that the backend doesn't offer, each with the reason for the error message."""


ONE_REPLICA = "an engine runs one replica of each workload"
NO_NAMESPACE = "an engine has no Kubernetes objects"

BACKENDS: dict[str, BackendSpec] = {
    "docker": BackendSpec(
        title="Docker",
        module="backends.docker.backend",
        renderer="operations.render.compose",
        runtime="operations.containers",
        backend_keys=("host", "bind_address", "published_host", "network_pool"),
        unsupported={
            Capability.REPLICAS: ONE_REPLICA,
            Capability.AUTOSCALING: ONE_REPLICA,
            Capability.EDGE: "Ingress and Gateway API need Kubernetes",
            Capability.LOAD_BALANCERS: "an engine binds public ports on its host",
            Capability.CERTIFICATES: "cert-manager needs Kubernetes",
            Capability.EXTERNAL_SECRETS: "Secrets need Kubernetes",
            Capability.POSTGRES_OPERATOR: "CloudNativePG needs Kubernetes",
            Capability.HOST_ALIASES: "a workload has only its own name",
            Capability.NODE_METRICS: "an engine has no kubelets",
            Capability.DEPLOYED_OBJECTS: NO_NAMESPACE,
        },
    ),
    "kubernetes": BackendSpec(
        title="Kubernetes",
        module="backends.kubernetes.backend",
        renderer="operations.render.manifests",
        runtime="operations.cluster",
        section="kubernetes",
        required={"kubeconfig": "FILE", "context": "NAME"},
        preview_values={"kubeconfig": "no-kubeconfig-in-this-preview"},
        unsupported={
            Capability.HOST_GATEWAY: "a cluster can't reach a developer's machine",
            Capability.HOST_PORTS: "a cluster doesn't bind host ports",
            Capability.HOST_METRICS: "the nodes don't belong to the stack",
            Capability.WELL_KNOWN_PASSWORDS: "other people can reach a cluster",
            Capability.TOOLS_WITHOUT_LOGIN: "the tools have no user accounts",
        },
    ),
}


def offers(kind: str, capability: Capability) -> bool:
    """Return whether a backend offers a capability."""
    return capability not in BACKENDS[kind].unsupported


def missing_reason(kind: str, capability: Capability) -> str | None:
    """Return why a backend doesn't offer a capability, as "on Docker: …"; None if it does."""
    row = BACKENDS[kind]
    return f"on {row.title}: {row.unsupported[capability]}" if capability in row.unsupported else None

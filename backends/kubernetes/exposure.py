"""Host names at the cluster's edge: an Ingress, or routes of the Gateway API."""

from __future__ import annotations

from collections.abc import Iterator

import pulumi

from backends.kubernetes import labels
from backends.kubernetes.manifest import SKIP_AWAIT, Manifest, manifest
from workloads import Exposure, Route, WorkloadError

EVERYTHING = "/"


def ingress(exposure: Exposure, tls_secret: pulumi.Input[str] | None) -> Manifest:
    """One Ingress with a rule per host. Not every controller tells an address, so nobody waits for one."""
    spec: Manifest = {"rules": [_rule(route) for route in exposure.routes]}
    if exposure.ingress_class is not None:
        spec["ingressClassName"] = exposure.ingress_class
    if tls_secret is not None:
        spec["tls"] = [{"hosts": [route.host for route in exposure.routes], "secretName": tls_secret}]
    return manifest(
        "networking.k8s.io/v1",
        "Ingress",
        name=exposure.name,
        labels=labels.platform(),
        annotations=SKIP_AWAIT,
        spec=spec,
    )


def http_routes(exposure: Exposure) -> Iterator[Manifest]:
    """An HTTPRoute per host.

    Raises:
        WorkloadError: without a gateway to attach to, and with a certificate, which is the gateway's.
    """
    if exposure.gateway is None:
        raise WorkloadError(f"exposure {exposure.name!r}: the Gateway API needs the name of a gateway")
    if exposure.tls is not None:
        raise WorkloadError(f"exposure {exposure.name!r}: a gateway holds its own certificate; take tls away")
    parent = {"name": exposure.gateway}
    if exposure.gateway_namespace is not None:
        parent["namespace"] = exposure.gateway_namespace
    for route in exposure.routes:
        backend = {"name": route.to.host, "port": route.to.port}
        yield manifest(
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            name=f"{exposure.name}-{route.host.replace('.', '-')}",
            labels=labels.platform(),
            spec={
                "parentRefs": [parent],
                "hostnames": [route.host],
                "rules": [
                    {
                        "matches": [{"path": {"type": "PathPrefix", "value": EVERYTHING}}],
                        "backendRefs": [backend],
                    }
                ],
            },
        )


def _rule(route: Route) -> Manifest:
    service = {"name": route.to.host, "port": {"number": route.to.port}}
    return {
        "host": route.host,
        "http": {"paths": [{"path": EVERYTHING, "pathType": "Prefix", "backend": {"service": service}}]},
    }

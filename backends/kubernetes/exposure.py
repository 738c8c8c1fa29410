"""Host names at the cluster's edge: an Ingress, or routes of the Gateway API."""

from __future__ import annotations

from collections.abc import Iterator

import pulumi

from backends.kubernetes import labels
from backends.kubernetes.manifest import SKIP_AWAIT, Manifest, manifest
from workloads import Exposure, Route, WorkloadError

ROOT_PATH = "/"
ACCEPTED_CONDITION = 'jsonpath={.status.parents[*].conditions[?(@.type=="Accepted" && @.status=="True")].type}'
ACCEPT_TIMEOUT = pulumi.CustomTimeouts(create="120s", update="120s")
"""Timeout of a route: a Gateway that doesn't exist or lacks the listener sets no status."""


def ingress(exposure: Exposure, tls_secret: pulumi.Input[str] | None) -> Manifest:
    """Return an Ingress with a rule per host. The update doesn't wait for its address, which not every controller sets.

    Raises:
        WorkloadError: the exposure has response headers, which an Ingress doesn't support.
    """
    if exposure.response_headers:
        raise WorkloadError(f"exposure {exposure.name!r}: an Ingress can't add headers; remove response_headers")
    spec: Manifest = {"rules": [_rule(route) for route in exposure.routes]}
    if exposure.ingress_class is not None:
        spec["ingressClassName"] = exposure.ingress_class
    if tls_secret is not None:
        spec["tls"] = [{"hosts": [route.host for route in exposure.routes], "secretName": tls_secret}]
    return manifest(
        "networking.k8s.io/v1",
        "Ingress",
        name=exposure.name,
        labels=labels.platform_labels(),
        annotations={**exposure.annotations, **SKIP_AWAIT},
        spec=spec,
    )


def http_routes(exposure: Exposure) -> Iterator[Manifest]:
    """Return an HTTPRoute per host, and a redirect to HTTPS if the Gateway has a listener without TLS.

    An update waits until the Gateway accepts them.

    Raises:
        WorkloadError: no Gateway is set, or a certificate is set, which the Gateway must have itself.
    """
    if exposure.gateway is None:
        raise WorkloadError(f"exposure {exposure.name!r}: the Gateway API requires the name of a Gateway")
    if exposure.tls is not None:
        raise WorkloadError(f"exposure {exposure.name!r}: a Gateway holds its own certificate; remove tls")
    for route in exposure.routes:
        forward: Manifest = {
            "matches": [{"path": {"type": "PathPrefix", "value": ROOT_PATH}}],
            "backendRefs": [{"name": route.to.host, "port": route.to.port}],
        }
        if exposure.response_headers:
            headers = [{"name": name, "value": text} for name, text in exposure.response_headers.items()]
            forward["filters"] = [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": headers}}]
        name = f"{exposure.name}-{route.host.replace('.', '-')}"
        yield _http_route(exposure, name, [route.host], exposure.https_listener, forward)
    if exposure.http_listener is not None:
        # The only permanent redirect in CRDs before Gateway API 1.5.
        redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
        hosts = [route.host for route in exposure.routes]
        yield _http_route(exposure, f"{exposure.name}-to-https", hosts, exposure.http_listener, {"filters": [redirect]})


def _http_route(exposure: Exposure, name: str, hosts: list[str], listener: str | None, rule: Manifest) -> Manifest:
    parent = {"name": exposure.gateway, "namespace": exposure.gateway_namespace, "sectionName": listener}
    return manifest(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        name=name,
        labels=labels.platform_labels(),
        annotations={"pulumi.com/waitFor": ACCEPTED_CONDITION},
        spec={
            "parentRefs": [{key: value for key, value in parent.items() if value is not None}],
            "hostnames": hosts,
            "rules": [rule],
        },
    )


def _rule(route: Route) -> Manifest:
    service = {"name": route.to.host, "port": {"number": route.to.port}}
    return {
        "host": route.host,
        "http": {"paths": [{"path": ROOT_PATH, "pathType": "Prefix", "backend": {"service": service}}]},
    }

"""Host names at the cluster's edge: an Ingress, or routes of the Gateway API."""

from __future__ import annotations

from collections.abc import Iterator

import pulumi

from backends.kubernetes import labels
from backends.kubernetes.manifest import SKIP_AWAIT, Manifest, manifest
from workloads import EdgeEntry, Exposure, Route, SharedGateway

ROOT_PATH = "/"
ACCEPTED_CONDITION = 'jsonpath={.status.parents[*].conditions[?(@.type=="Accepted" && @.status=="True")].type}'
ACCEPT_TIMEOUT = pulumi.CustomTimeouts(create="120s", update="120s")
"""Timeout for the acceptance of a route, because a Gateway that doesn't exist or lacks the listener
never sets the status."""


def ingress(exposure: Exposure, entry: EdgeEntry, tls_secret: pulumi.Input[str]) -> Manifest:
    """Return an Ingress with a rule per host. The update doesn't wait for its address, which not every controller
    sets."""
    spec: Manifest = {"rules": [_rule(route) for route in exposure.routes]}
    if entry.controller is not None:
        spec["ingressClassName"] = entry.controller
    spec["tls"] = [{"hosts": [route.host for route in exposure.routes], "secretName": tls_secret}]
    return manifest(
        "networking.k8s.io/v1",
        "Ingress",
        name=exposure.name,
        labels=labels.platform_labels(),
        annotations={**entry.controller_options, **SKIP_AWAIT},
        spec=spec,
    )


def http_routes(exposure: Exposure, gateway: SharedGateway) -> Iterator[Manifest]:
    """Return an HTTPRoute per host, and a redirect to HTTPS if the Gateway has a listener without TLS.

    An update waits until the Gateway accepts them.
    """
    for route in exposure.routes:
        forward: Manifest = {
            "matches": [{"path": {"type": "PathPrefix", "value": ROOT_PATH}}],
            "backendRefs": [{"name": route.to.host, "port": route.to.port}],
        }
        if gateway.response_headers:
            headers = [{"name": name, "value": text} for name, text in gateway.response_headers.items()]
            forward["filters"] = [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": headers}}]
        name = f"{exposure.name}-{route.host.replace('.', '-')}"
        yield _http_route(gateway, name, [route.host], gateway.tls_listener, forward)
    if gateway.plain_listener is not None:
        # 301 is the only permanent redirect that CRDs before Gateway API 1.5 allow.
        redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
        hosts = [route.host for route in exposure.routes]
        yield _http_route(gateway, f"{exposure.name}-to-https", hosts, gateway.plain_listener, {"filters": [redirect]})


def _http_route(gateway: SharedGateway, name: str, hosts: list[str], listener: str | None, rule: Manifest) -> Manifest:
    parent = {"name": gateway.name, "namespace": gateway.location, "sectionName": listener}
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

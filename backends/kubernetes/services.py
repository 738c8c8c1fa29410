"""Services of a workload's pods.

The update doesn't wait for a Service's endpoints, only for controllers: a headless Service and the controller that
needs it would wait for each other (pulumi/pulumi-kubernetes#1974)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.kubernetes import labels
from backends.kubernetes.manifest import SKIP_AWAIT, Manifest, manifest
from workloads import LoadBalancer, LongRunning, Port, Service, StatefulService, Workload

PODS_SUFFIX = "-pods"
"""Suffix of the Service that resolves to all pods of a workload."""

HEADLESS_SPEC: dict[str, Any] = {"clusterIP": "None", "publishNotReadyAddresses": True}


def services(workload: Workload) -> Iterator[Manifest]:
    """Return the Services of a workload.

    - `<name>`, all its ports, for callers;
    - `<name>-peers`, a name per pod, for the pods of a stateful workload;
    - `<name>-pods`, the addresses of all pods, if Prometheus must scrape each one;
    - `<name>-public`, a load balancer for users.
    """
    inside = [_port(port, port.number) for port in workload.ports if not port.admin_only]
    if inside:
        yield _service(workload, workload.name, {"type": "ClusterIP", "ports": inside})
    if isinstance(workload, StatefulService):
        yield _service(workload, f"{workload.name}-peers", HEADLESS_SPEC | ({"ports": inside} if inside else {}))
    if isinstance(workload, LongRunning) and (metrics_ports := {one.port for one in workload.metrics}):
        pod_ports = [_port(port, port.number) for port in workload.ports if port.number in metrics_ports]
        yield _service(workload, f"{workload.name}{PODS_SUFFIX}", {**HEADLESS_SPEC, "ports": pod_ports})
    public = [_port(port, port.publish) for port in workload.ports if port.public and port.publish is not None]
    if public:
        options = (workload.load_balancer if isinstance(workload, Service) else None) or LoadBalancer()
        # Local keeps the caller's address, which rate limits and access logs need.
        traffic_policy = "Local" if options.keeps_client_address else "Cluster"
        outside: Manifest = {"type": "LoadBalancer", "externalTrafficPolicy": traffic_policy, "ports": public}
        outside |= {"loadBalancerClass": options.controller} if options.controller else {}
        outside |= {"loadBalancerSourceRanges": [*options.source_ranges]} if options.source_ranges else {}
        yield _service(workload, f"{workload.name}-public", outside, options.annotations)


def _service(workload: Workload, name: str, spec: Manifest, annotations: Mapping[str, str] | None = None) -> Manifest:
    return manifest(
        "v1",
        "Service",
        name=name,
        labels=labels.labels_for(workload),
        annotations={**(annotations or {}), **SKIP_AWAIT},
        spec={**spec, "selector": labels.selector(workload.name)},
    )


def _port(port: Port, number: int) -> Manifest:
    return {"name": port.name, "port": number, "targetPort": port.number, "protocol": "TCP"}

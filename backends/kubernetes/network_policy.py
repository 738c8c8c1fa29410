"""Network policies. Every connection that isn't declared here is denied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from backends.kubernetes import kubelets, labels, namespace_reader
from backends.kubernetes.manifest import Manifest, manifest
from settings.backend import DNS_PORT, DnsSettings
from workloads import Endpoint, ExternalEndpoint, StatefulService, Workload

ANY_ADDRESS = ("0.0.0.0/0", "::/0")
PRIVATE_RANGES = {
    "0.0.0.0/0": ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"],
    "::/0": ["fc00::/7", "fe80::/10"],
}
"""Private, shared and link-local ranges, including pods, nodes, and the clouds' metadata services."""

NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"
ACME_SOLVER_LABELS = {"acme.cert-manager.io/http01-solver": "true"}
ACME_SOLVER_PORT = 8089


def workload_policy(workload: Workload, *, selectors: Mapping[str, Mapping[str, str]], dns: DnsSettings) -> Manifest:
    """Return the policy of a workload: its allowed callers and the endpoints that it calls.

    Args:
        workload: the workload of the selected pods.
        selectors: per workload that it calls, the labels of its pods.
        dns: the cluster's DNS servers.
    """
    own_pods = labels.selector(workload.name)
    ingress = [
        rule([pod_peer(labels.connection_label(Endpoint(workload.name, port.number)))], [port.number], direction="from")
        for port in workload.ports
    ]
    if public := [port.number for port in workload.ports if port.public]:
        ingress.append(rule([], public, direction="from"))
    egress = dns_rules(dns)
    for call in workload.connects_to:
        if isinstance(call, ExternalEndpoint):
            egress.append(rule(_external_peers(call), [call.port], direction="to"))
        else:
            egress.append(rule([pod_peer(selectors[call.workload])], [call.port], direction="to"))
    if workload.reads_node_metrics:
        egress.append(rule([], kubelets.KUBELET_PORTS, direction="to"))
    if workload.reads_deployed_objects:
        egress.append(rule([], namespace_reader.API_SERVER_PORTS, direction="to"))
    if isinstance(workload, StatefulService) and workload.peer_ports:
        ingress.append(rule([pod_peer(own_pods)], workload.peer_ports, direction="from"))
        egress.append(rule([pod_peer(own_pods)], workload.peer_ports, direction="to"))
    return policy(workload.name, own_pods, ingress=ingress, egress=egress, labels=labels.labels_for(workload))


def edge_policy(exposure: str, workload: str, ports: Sequence[int], *, callers_namespace: str) -> Manifest:
    """Allow the pods of the edge's namespace to connect to a workload."""
    return policy(
        f"{workload}-from-{exposure}",
        labels.selector(workload),
        ingress=[rule([namespace_peer(callers_namespace)], ports, direction="from")],
        labels=labels.workload_labels(workload, "edge"),
    )


def acme_solver_policy() -> Manifest:
    """Allow ACME HTTP-01 requests to the solver pod that cert-manager starts in this namespace."""
    return policy(
        "certificate-solvers",
        ACME_SOLVER_LABELS,
        ingress=[rule([], [ACME_SOLVER_PORT], direction="from")],
        labels=labels.platform_labels(),
    )


def default_deny(name: str) -> Manifest:
    """Deny every connection of every pod in the namespace, unless another policy allows it."""
    return policy(name, {}, ingress=[], egress=[], labels=labels.platform_labels())


def policy(
    name: str,
    selector: Mapping[str, str],
    *,
    ingress: Sequence[Manifest],
    egress: Sequence[Manifest] | None = None,
    labels: Mapping[str, str],
) -> Manifest:
    """Return a NetworkPolicy; without `egress` it doesn't restrict outgoing connections."""
    spec: Manifest = {
        "podSelector": {"matchLabels": dict(selector)} if selector else {},
        "policyTypes": ["Ingress"] if egress is None else ["Ingress", "Egress"],
    }
    spec |= {"ingress": list(ingress)} if ingress else {}
    spec |= {"egress": list(egress)} if egress else {}
    return manifest("networking.k8s.io/v1", "NetworkPolicy", name=name, labels=labels, spec=spec)


def rule(peers: Sequence[Manifest], ports: Sequence[int], *, direction: str) -> Manifest:
    """Allow TCP ports `from` or `to` the peers; without peers, from or to everyone."""
    ports_rule: Manifest = {"ports": [{"protocol": "TCP", "port": port} for port in ports]}
    return {direction: list(peers), **ports_rule} if peers else ports_rule


def dns_rules(dns: DnsSettings) -> list[Manifest]:
    """Return the rules for DNS: pods by their own port, because it is compared after the Service's address was
    translated."""
    peers_by_port: dict[int, list[Manifest]] = {dns.port: [namespace_peer(dns.namespace)]}
    if dns.cidrs:
        peers_by_port.setdefault(DNS_PORT, []).extend(cidr_peers(dns.cidrs))
    return [
        {"to": peers, "ports": [{"protocol": protocol, "port": port} for protocol in ("UDP", "TCP")]}
        for port, peers in peers_by_port.items()
    ]


def pod_peer(selector: Mapping[str, str]) -> Manifest:
    """Return the peer for pods of this namespace."""
    return {"podSelector": {"matchLabels": dict(selector)}}


def namespace_peer(name: str) -> Manifest:
    """Return the peer for all pods of another namespace."""
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME_LABEL: name}}}


def cidr_peers(cidrs: Iterable[str]) -> list[Manifest]:
    """Return the peers for address ranges."""
    return [{"ipBlock": {"cidr": cidr}} for cidr in cidrs]


def _external_peers(external: ExternalEndpoint) -> list[Manifest]:
    if external.cidrs:
        return cidr_peers(external.cidrs)
    return [{"ipBlock": {"cidr": cidr, "except": private}} for cidr, private in PRIVATE_RANGES.items()]

"""Network policies. Every connection that isn't declared here is denied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from backends.kubernetes import kubelets, labels, namespace_reader
from backends.kubernetes.manifest import Manifest, manifest
from workloads import Endpoint, External, StatefulService, Workload

ANY_ADDRESS = ("0.0.0.0/0", "::/0")
NOT_PUBLIC = {
    "0.0.0.0/0": ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"],
    "::/0": ["fc00::/7", "fe80::/10"],
}
"""Private, shared and link-local ranges: pods, nodes, and the clouds' metadata services among them."""

NAMESPACE = "kubernetes.io/metadata.name"
SOLVER = {"acme.cert-manager.io/http01-solver": "true"}
SOLVER_PORT = 8089


def of_workload(
    workload: Workload, *, selectors: Mapping[str, Mapping[str, str]], dns_cidrs: Iterable[str]
) -> Manifest:
    """Return the policy of a workload: its allowed callers and the endpoints that it calls.

    Args:
        workload: the workload of the selected pods.
        selectors: per workload that it calls, the labels of its pods.
        dns_cidrs: addresses of name servers outside kube-system.
    """
    itself = labels.selector(workload.name)
    ingress = [
        rule([pods(labels.calls(Endpoint(workload.name, port.number)))], [port.number], towards="from")
        for port in workload.ports
    ]
    if public := [port.number for port in workload.ports if port.public]:
        ingress.append(rule([], public, towards="from"))
    egress = [dns(dns_cidrs)]
    for call in workload.connects_to:
        if isinstance(call, External):
            egress.append(rule(_outside(call), [call.port], towards="to"))
        else:
            egress.append(rule([pods(selectors[call.workload])], [call.port], towards="to"))
    if workload.reads_node_metrics:
        egress.append(rule([], kubelets.PORTS, towards="to"))
    if workload.reads_deployed_objects:
        egress.append(rule([], namespace_reader.API_SERVER, towards="to"))
    if isinstance(workload, StatefulService) and workload.peer_ports:
        ingress.append(rule([pods(itself)], workload.peer_ports, towards="from"))
        egress.append(rule([pods(itself)], workload.peer_ports, towards="to"))
    return policy(workload.name, itself, ingress=ingress, egress=egress, marked=labels.of(workload))


def of_exposed(exposure: str, workload: str, ports: Sequence[int], *, callers_namespace: str) -> Manifest:
    """Allow the pods of the edge's namespace to connect to a workload."""
    return policy(
        f"{workload}-from-{exposure}",
        labels.selector(workload),
        ingress=[rule([namespace(callers_namespace)], ports, towards="from")],
        marked=labels.labels(workload, "edge"),
    )


def of_solvers() -> Manifest:
    """Allow ACME HTTP-01 requests to the solver pod that cert-manager starts in this namespace."""
    return policy(
        "certificate-solvers",
        SOLVER,
        ingress=[rule([], [SOLVER_PORT], towards="from")],
        marked=labels.platform(),
    )


def default_deny(name: str) -> Manifest:
    """Deny every connection of every pod in the namespace, unless another policy allows it."""
    return policy(name, {}, ingress=[], egress=[], marked=labels.platform())


def policy(
    name: str,
    selector: Mapping[str, str],
    *,
    ingress: Sequence[Manifest],
    egress: Sequence[Manifest] | None = None,
    marked: Mapping[str, str],
) -> Manifest:
    """Return a NetworkPolicy; without `egress` it doesn't restrict outgoing connections."""
    spec: Manifest = {
        "podSelector": {"matchLabels": dict(selector)} if selector else {},
        "policyTypes": ["Ingress"] if egress is None else ["Ingress", "Egress"],
    }
    spec |= {"ingress": list(ingress)} if ingress else {}
    spec |= {"egress": list(egress)} if egress else {}
    return manifest("networking.k8s.io/v1", "NetworkPolicy", name=name, labels=marked, spec=spec)


def rule(peers: Sequence[Manifest], ports: Sequence[int], *, towards: str) -> Manifest:
    """Allow TCP ports `from` or `to` the peers; without peers, from or to everyone."""
    opened: Manifest = {"ports": [{"protocol": "TCP", "port": port} for port in ports]}
    return {towards: list(peers), **opened} if peers else opened


def dns(cidrs: Iterable[str]) -> Manifest:
    """Return the rule for DNS: the cluster's servers, and node-local ones if there are any."""
    return {
        "to": [namespace("kube-system"), *addresses(cidrs)],
        "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
    }


def pods(selector: Mapping[str, str]) -> Manifest:
    """Return the peer for pods of this namespace."""
    return {"podSelector": {"matchLabels": dict(selector)}}


def namespace(name: str) -> Manifest:
    """Return the peer for all pods of another namespace."""
    return {"namespaceSelector": {"matchLabels": {NAMESPACE: name}}}


def addresses(cidrs: Iterable[str]) -> list[Manifest]:
    """Return the peers for address ranges."""
    return [{"ipBlock": {"cidr": cidr}} for cidr in cidrs]


def _outside(external: External) -> list[Manifest]:
    if external.cidrs:
        return addresses(external.cidrs)
    return [{"ipBlock": {"cidr": cidr, "except": private}} for cidr, private in NOT_PUBLIC.items()]

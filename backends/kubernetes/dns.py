"""The cluster's DNS servers, compared with those that the network policies allow.

If a policy leaves out the real one, every lookup times out, and the update fails minutes later. Whether the cluster
enforces policies is unknown, so a difference only causes a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import Any

from settings.backend import DNS_PORT, DnsSettings

Query = Callable[..., dict[str, Any] | None]
"""Runs kubectl, and returns the object or list; None if it fails."""

SECTION = "kubernetes.dns"
HELP = "See docs/clusters.md, section DNS."
LOCAL_ADDRESS_FLAG = "-localip"


def problems(dns: DnsSettings, query: Query) -> Iterator[str]:
    """Yield the settings that keep pods from resolving names; nothing if the cluster's DNS servers are unknown."""
    servers, missing = _kubelet_servers(query), list[str]()
    for address in servers:
        if _allowed(address, dns):
            continue
        services = _services(address, query)
        for service in services or ():
            yield from _pod_problems(service, dns, query)
        if services == []:
            missing.append(address)
    missing += [one for one in _node_local_caches(query) if not _allowed(one, dns) and one not in missing]
    if missing:
        yield _problem(f"pods send DNS queries to {', '.join(missing)}, which isn't a pod", _add_cidrs(missing, dns))
    if not servers and not _has_service(dns, query):
        yield _problem(f"no Service in the namespace {dns.namespace} has port {DNS_PORT}", [])


def _kubelet_servers(query: Query) -> Sequence[str]:
    """Return the addresses that the kubelet of one node writes into its pods' resolv.conf."""
    nodes = (query("get", "--raw", "/api/v1/nodes?limit=1") or {}).get("items", [])
    for node in nodes:
        found = query("get", "--raw", f"/api/v1/nodes/{node['metadata']['name']}/proxy/configz") or {}
        return tuple(found.get("kubeletconfig", {}).get("clusterDNS") or ())
    return ()


def _services(address: str, query: Query) -> list[dict[str, Any]] | None:
    """Return the Service with this address, if there is one; None if that is unknown."""
    found = query("get", "services", "--all-namespaces", "--field-selector", f"spec.clusterIP={address}", "-o", "json")
    return None if found is None else found["items"]


def _pod_problems(service: dict[str, Any], dns: DnsSettings, query: Query) -> Iterator[str]:
    namespace, ports = service["metadata"]["namespace"], _pod_ports(service, query)
    if namespace != dns.namespace:
        yield _problem(f"the DNS servers are in the namespace {namespace}", [_set("namespace", namespace)])
    if ports and dns.port not in ports:
        yield _problem(f"the DNS servers' pods listen on port {min(ports)}", [_set("port", str(min(ports)))])


def _pod_ports(service: dict[str, Any], query: Query) -> set[int]:
    """Return the UDP ports of the pods behind a Service."""
    metadata = service["metadata"]
    selector = f"kubernetes.io/service-name={metadata['name']}"
    slices = query("get", "endpointslices", "--namespace", metadata["namespace"], "--selector", selector, "-o", "json")
    ports = [port for one in (slices or {}).get("items", []) for port in one.get("ports") or ()]
    return {port["port"] for port in ports if port.get("protocol") == "UDP"}


def _node_local_caches(query: Query) -> Iterable[str]:
    """Return the addresses of NodeLocal DNSCache. In kube-proxy's iptables mode, it also listens on the Service's
    address."""
    found = query("get", "daemonsets", "--all-namespaces", "--selector", "k8s-app=node-local-dns", "-o", "json")
    for one in (found or {}).get("items", []):
        for container in one["spec"]["template"]["spec"]["containers"]:
            arguments = [*container.get("command", ()), *container.get("args", ())]
            for flag, value in pairwise(arguments):
                if flag == LOCAL_ADDRESS_FLAG:
                    yield from filter(None, value.split(","))


def _has_service(dns: DnsSettings, query: Query) -> bool:
    found = query("get", "services", "--namespace", dns.namespace, "-o", "json")
    if found is None:
        return True
    return any(port["port"] == DNS_PORT for one in found["items"] for port in one["spec"].get("ports", ()))


def _allowed(address: str, dns: DnsSettings) -> bool:
    return any(ip_address(address) in ip_network(cidr) for cidr in dns.cidrs)


def _add_cidrs(addresses: Iterable[str], dns: DnsSettings) -> list[str]:
    """Return the commands that add addresses to the list. If the list isn't set, they also add its defaults, which it
    would replace."""
    wanted = [*dns.cidrs, *(str(ip_network(one)) for one in addresses)]
    first = len(dns.cidrs) if "cidrs" in dns.model_fields_set else 0
    return [_set(f"cidrs[{index}]", cidr) for index, cidr in enumerate(wanted) if index >= first]


def _set(key: str, value: str) -> str:
    return f"pulumi config set --path 'pti-calendar:{SECTION}.{key}' {value}"


def _problem(found: str, commands: Sequence[str]) -> str:
    fix = f"Set {'them' if len(commands) > 1 else 'it'}: {'; '.join(commands)}. " if commands else ""
    return f"{SECTION}: {found}. If the cluster enforces network policies, no name resolves in pods. {fix}{HELP}"

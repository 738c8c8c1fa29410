"""Allowed connections between pods, evaluated from recorded NetworkPolicies as in a cluster.

Both sides must allow a connection: the caller's egress policies and the callee's ingress policies. A pod that no policy
selects in a direction is open in that direction; otherwise one matching rule is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from recording.recorder import Recording

Address = IPv4Address | IPv6Address
NAMESPACE = "kubernetes.io/metadata.name"
POD_ADDRESS = IPv4Address("10.244.0.10")
POD_CONTROLLER_KINDS = ("Deployment", "StatefulSet", "Job")


@dataclass(frozen=True)
class Pod:
    """A pod with the properties that policies select by."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    address: Address = POD_ADDRESS


class Matrix:
    """The connections that the recorded policies allow.

    A text that matches a workload's name means that workload. A pod in another namespace is a `Pod`; any other text is
    an IP address.
    """

    def __init__(self, recording: Recording[Any]) -> None:
        self._policies = [one.inputs for one in recording.of_type("NetworkPolicy")]
        self._pods = dict(_pods(recording))
        self._applying = {
            (direction, name): self._policies_for(direction, pod)
            for direction in ("Egress", "Ingress")
            for name, pod in self._pods.items()
        }

    @property
    def workloads(self) -> set[str]:
        """Return all workloads that have pods."""
        return {*self._pods}

    def may_open(self, caller: str | Pod, callee: str | Pod, port: int, protocol: str = "TCP") -> bool:
        """Return whether `caller` may connect to `port` of `callee`."""
        return self._allows("Egress", caller, callee, port, protocol) and self._allows(
            "Ingress", callee, caller, port, protocol
        )

    def callers(self, callee: str, port: int) -> set[str]:
        """Return the workloads that may connect to a port."""
        return {caller for caller in self._pods if caller != callee and self.may_open(caller, callee, port)}

    def _resolve(self, named: str | Pod) -> Pod | Address:
        if isinstance(named, Pod):
            return named
        return self._pods[named] if named in self._pods else ip_address(named)

    def _policies_for(self, direction: str, pod: Pod) -> list[Mapping[str, Any]]:
        return [one for one in self._policies if direction in _directions(one["spec"]) and _selects(one, pod)]

    def _allows(self, direction: str, named: str | Pod, other: str | Pod, port: int, protocol: str) -> bool:
        pod = self._resolve(named)
        if not isinstance(pod, Pod):
            return True
        known = self._applying.get((direction, named)) if isinstance(named, str) else None
        applying = self._policies_for(direction, pod) if known is None else known
        if not applying:
            return True
        peer = self._resolve(other)
        return any(
            _matches_ports(rule.get("ports"), port, protocol)
            and _matches_any_peer(rule.get(side), peer, policy["metadata"]["namespace"])
            for side in ("to" if direction == "Egress" else "from",)
            for policy in applying
            for rule in policy["spec"].get(direction.lower(), [])
            if _require_known_fields(rule, {"ports", side})
        )


def _pods(recording: Recording[Any]) -> Iterator[tuple[str, Pod]]:
    for kind in POD_CONTROLLER_KINDS:
        for one in recording.of_type(kind):
            labels = one.inputs["spec"]["template"]["metadata"]["labels"]
            yield one.name, Pod(one.inputs["metadata"]["namespace"], labels)
    for one in recording.of_type("Cluster"):
        # The operator's pods only have its own label.
        yield one.name, Pod(one.inputs["metadata"]["namespace"], {"cnpg.io/cluster": one.name})


def _directions(spec: Mapping[str, Any]) -> list[str]:
    implied = ["Ingress", *(["Egress"] if "egress" in spec else [])]
    directions: list[str] = spec.get("policyTypes", implied)
    return directions


def _selects(policy: Mapping[str, Any], pod: Pod) -> bool:
    return pod.namespace == policy["metadata"]["namespace"] and _match(policy["spec"]["podSelector"], pod.labels)


def _match(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert _require_known_fields(selector, {"matchLabels"})
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def _matches_ports(ports: list[Mapping[str, Any]] | None, port: int, protocol: str) -> bool:
    if not ports:
        return True
    return any(
        one.get("protocol", "TCP") == protocol and port in range(one["port"], one.get("endPort", one["port"]) + 1)
        for one in ports
        if _require_known_fields(one, {"protocol", "port", "endPort"})
    )


def _matches_any_peer(peers: list[Mapping[str, Any]] | None, other: Pod | Address, namespace: str) -> bool:
    return not peers or any(_matches_peer(peer, other, namespace) for peer in peers)


def _matches_peer(peer: Mapping[str, Any], other: Pod | Address, namespace: str) -> bool:
    assert _require_known_fields(peer, {"ipBlock", "podSelector", "namespaceSelector"})
    if block := peer.get("ipBlock"):
        # Some network plugins also apply address ranges to pods. Assume the wider interpretation, to be safe.
        address = other.address if isinstance(other, Pod) else other
        return address in ip_network(block["cidr"]) and not any(
            address in ip_network(excepted) for excepted in block.get("except", [])
        )
    if not isinstance(other, Pod):
        return False
    if "namespaceSelector" in peer:
        fits = _match(peer["namespaceSelector"], {NAMESPACE: other.namespace})
    else:
        fits = other.namespace == namespace
    return fits and _match(peer.get("podSelector", {}), other.labels)


def _require_known_fields(part: Mapping[str, Any], keys: set[str]) -> bool:
    """Fail on policy fields that this evaluation doesn't support, instead of misinterpreting them."""
    assert part.keys() <= keys, f"{sorted(part.keys() - keys)} is not understood here"
    return True

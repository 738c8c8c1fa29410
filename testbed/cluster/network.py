"""The pods' bridge and the cluster's packet-filter rules: created and removed here.

The chains of a Docker engine on the same machine are never changed.
"""

from __future__ import annotations

import re
from pathlib import Path

from testbed.cluster.configuration import POD_NETWORK
from testbed.cluster.constants import BRIDGE, NODE_ADDRESS, POD_SUBNET
from testbed.cluster.processes import run, succeeds

_PREFIX = POD_SUBNET.partition("/")[2]
_DIRECTIONS = ("-i", "-o")
_POLICY_TABLE = ("inet", "kube-network-policies")
POLICY_QUEUE = 100
"""Number of the netfilter queue; the policy agent's default."""

_POLICY_CHAIN = "KUBE-TEST-POLICIES"
_CHAIN_PATTERN = re.compile(r"(?:KUBE|CNI)-[\w-]+")


def create_bridge() -> None:
    """Create the bridge with its address, and allow traffic between pods."""
    if not succeeds("ip", "link", "show", BRIDGE):
        run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "replace", f"{NODE_ADDRESS}/{_PREFIX}", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    # The packet filter rewrites Service addresses; by default it doesn't process traffic within a bridge.
    succeeds("modprobe", "br_netfilter")
    succeeds("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    for direction in _DIRECTIONS:
        # A Docker engine drops forwarded packets that aren't its own.
        if not _forwarding("-C", direction):
            run("iptables", "-w", "-I", "FORWARD", direction, BRIDGE, "-j", "ACCEPT")


def close() -> None:
    """Remove the bridge, and every rule and chain of Kubernetes and of the pod network; do nothing without the bridge.

    Without it, no node of this project ran, and the chains would belong to another Kubernetes.
    """
    if not succeeds("ip", "link", "show", BRIDGE):
        return
    for direction in _DIRECTIONS:
        _forwarding("-D", direction)
    for command in ("iptables", "ip6tables"):
        for table in ("filter", "nat", "mangle"):
            _remove_chains(command, table)
    succeeds("nft", "delete", "table", *_POLICY_TABLE)
    succeeds("ip", "link", "delete", BRIDGE)


def queue_packets_for_policy_agent() -> None:
    """Pass every new connection of a pod to the agent for a decision; without the agent, it is dropped.

    If the kernel supports nftables' queue, the agent's own rules do the same, and it decides twice.
    """
    if succeeds("iptables", "-w", "-t", "mangle", "-n", "-L", _POLICY_CHAIN):
        return
    rules = [
        "-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
        # Exclude the kubelet's probes: their packets have an owner, a pod's forwarded ones have none.
        "-m owner --uid-owner 0 -j RETURN",
        f"-s {POD_SUBNET} -j NFQUEUE --queue-num {POLICY_QUEUE}",
        f"-d {POD_SUBNET} -j NFQUEUE --queue-num {POLICY_QUEUE}",
    ]
    appended = [f"-A {_POLICY_CHAIN} {rule}" for rule in rules]
    lines = ["*mangle", f":{_POLICY_CHAIN} - [0:0]", *appended, f"-A POSTROUTING -j {_POLICY_CHAIN}", "COMMIT", ""]
    run("iptables-restore", "-w", "--noflush", text="\n".join(lines))


def policy_agent_listens() -> bool:
    """Return whether a process handles the queue."""
    queues = Path("/proc/net/netfilter/nfnetlink_queue").read_text().splitlines()
    return any(line.split()[0] == str(POLICY_QUEUE) for line in queues)


def _forwarding(action: str, direction: str) -> bool:
    return succeeds("iptables", "-w", action, "FORWARD", direction, BRIDGE, "-j", "ACCEPT")


def _remove_chains(command: str, table: str) -> None:
    """Remove the chains in one transaction, so that no packet is matched against a part of them."""
    if not succeeds(command, "-w", "-t", table, "-S"):
        return
    rules = run(command, "-w", "-t", table, "-S").splitlines()
    ours = {
        rule.split()[1]
        for rule in rules
        if rule.startswith("-N ") and (rule.startswith("-N KUBE-") or _belongs_to_pod_network(rule.split()[1], rules))
    }
    if not ours:
        return
    jumps = [
        rule.replace("-A ", "-D ", 1)
        for rule in rules
        if rule.startswith("-A ") and rule.split()[1] not in ours and ours & set(_CHAIN_PATTERN.findall(rule))
    ]
    flushes = [f"-F {chain}" for chain in sorted(ours)]
    removals = [f"-X {chain}" for chain in sorted(ours)]
    text = "\n".join([f"*{table}", *jumps, *flushes, *removals, "COMMIT", ""])
    run(f"{command}-restore", "-w", "--noflush", text=text)


def _belongs_to_pod_network(chain: str, rules: list[str]) -> bool:
    """Return whether a CNI plugin created the chain for a pod of this cluster, because other software's pods may run on
    this machine."""
    return chain.startswith("CNI-") and any(chain in rule.split() and POD_NETWORK in rule for rule in rules)

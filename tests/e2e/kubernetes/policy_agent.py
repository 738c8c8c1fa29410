"""Enforcement of network policies for a limited time, among pods that don't change.

The agent (kube-network-policies 0.8.0) crashes with a nil pointer on a packet whose pod the API server doesn't know
because it has just started or ended. While the agent is down, every new connection is dropped. It is therefore only
used while no pod starts or ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from testbed.cluster import node
from testbed.cluster.processes import pid_of, run, stop, tail

AGENT = "network-policies"
CHAIN = "KUBE-TEST-POLICIES"
"""The iptables chain in which the test cluster passes packets to the agent."""


@contextmanager
def enforced() -> Iterator[None]:
    """Enforce policies for the duration of the context; fail if enforcement stops earlier."""
    node.enforce_network_policies()
    try:
        yield
        assert pid_of(AGENT), tail(AGENT)
    finally:
        for action in (("-D", "POSTROUTING", "-j", CHAIN), ("-F", CHAIN), ("-X", CHAIN)):
            run("iptables", "-w", "-t", "mangle", *action)
        stop(AGENT)

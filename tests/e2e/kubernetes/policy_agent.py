"""Network policies enforced for a while, among pods that stay.

The agent (kube-network-policies 0.8.0) ends with a nil pointer at a packet whose pod the API server doesn't know: one
that has just begun, or just gone; and without it every new connection is dropped. So it is asked only while no pod
comes or goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from testbed.cluster import node
from testbed.cluster.processes import end, pid_of, run, tail

AGENT = "network-policies"
CHAIN = "KUBE-TEST-POLICIES"
"""Where the test cluster hands packets to the agent."""


@contextmanager
def enforced() -> Iterator[None]:
    """Policies hold until the end of the `with`; it fails where they stopped to hold before."""
    node.enforce_network_policies()
    try:
        yield
        assert pid_of(AGENT), tail(AGENT)
    finally:
        for action in (("-D", "POSTROUTING", "-j", CHAIN), ("-F", CHAIN), ("-X", CHAIN)):
            run("iptables", "-w", "-t", "mangle", *action)
        end(AGENT)

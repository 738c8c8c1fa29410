"""Keeps network policies enforced while pods come and go.

The agent (kube-network-policies 0.8.0) ends with a nil pointer when the first packet of a pod comes before the API
server has told its address, and without an agent every new connection is dropped. Nothing is let through by that; who
connects meanwhile waits for the next attempt of its kernel, a second later.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster import node
from tests.cluster.processes import pid_of

AGENT = "network-policies"
LOOK_S = 0.2


@contextmanager
def kept_running() -> Iterator[None]:
    """Starts the agent again as often as it ends, until the `with` does."""
    stop = threading.Event()

    def keep() -> None:
        while not stop.wait(LOOK_S):
            if pid_of(AGENT) is None:
                node.enforce_network_policies()

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()

"""API servers that don't respond: one doesn't accept connections, one accepts them and sends nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

CONTEXT = "silent"


@contextmanager
def accepts_silently() -> Iterator[int]:
    """A port on which the kernel accepts connections but no process responds."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(512)
        yield int(listening.getsockname()[1])


@contextmanager
def accepts_nothing() -> Iterator[int]:
    """Return a port with a full queue: the kernel drops connection requests, like a firewall."""
    with ExitStack() as held:
        listening = held.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        while True:
            client = held.enter_context(socket.socket())
            client.settimeout(1)
            try:
                client.connect(address)
            except TimeoutError:
                break
        yield int(address[1])


def kubeconfig(path: Path, port: int) -> Path:
    """Return a kubeconfig for a port of this machine."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": {"server": f"https://127.0.0.1:{port}"}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
        "users": [{"name": CONTEXT, "user": {}}],
    }
    path.write_text(json.dumps(document))
    return path

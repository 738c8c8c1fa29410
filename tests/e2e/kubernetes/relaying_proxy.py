"""An HTTP proxy in front of an API server whose name only the proxy resolves."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from testbed.cluster import Cluster

TARGET = "cluster.example.invalid:6443"
CERTIFIED_NAME = "localhost"
"""A name in the certificate of every API server of the test cluster."""


class RelayingProxy:
    """The proxy's address, and the targets of its connections."""

    def __init__(self, address: str, server: tuple[str, int]) -> None:
        self.address = address
        self.server = server
        self.targets: list[str] = []


@contextmanager
def relaying_proxy(cluster: Cluster) -> Iterator[RelayingProxy]:
    """Run a proxy for the duration of the context. It relays connections for `TARGET` to the cluster, and refuses
    others."""
    server = urlsplit(_kubeconfig(cluster)["clusters"][0]["cluster"]["server"])

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            made.targets.append(self.path)
            self.close_connection = True
            if self.path != TARGET:
                self.send_error(502)
                return
            with socket.create_connection(made.server) as upstream:
                self.send_response(200)
                self.end_headers()
                _relay(self.connection, upstream)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        made = RelayingProxy(f"http://127.0.0.1:{listening.server_port}", (str(server.hostname), server.port or 443))
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield made
        listening.shutdown()


def behind_proxy(cluster: Cluster, kubeconfig: Path, proxy_url: str | None) -> Cluster:
    """Return the cluster by the name that only the proxy resolves, with a kubeconfig of its own."""
    document = _kubeconfig(cluster)
    fields = document["clusters"][0]["cluster"]
    fields |= {"server": f"https://{TARGET}", "tls-server-name": CERTIFIED_NAME}
    if proxy_url:
        fields["proxy-url"] = proxy_url
    kubeconfig.write_text(yaml.safe_dump(document))
    return replace(cluster, kubeconfig=kubeconfig)


def _kubeconfig(cluster: Cluster) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(cluster.kubeconfig.read_text())
    return document


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Copy bytes in both directions until either side ends the connection."""
    peers = {one: other, other: one}
    while True:
        for source in select.select(list(peers), [], [])[0]:
            try:
                if not (received := source.recv(65536)):
                    return
                peers[source].sendall(received)
            except OSError:
                return

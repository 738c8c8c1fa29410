"""An HTTP proxy that forwards nothing and records which hosts it was asked for."""

from __future__ import annotations

import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VARIABLES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
EXCLUDING_VARIABLES = ("no_proxy", "NO_PROXY", "no_grpc_proxy")
LOOPBACK = ("127.", "localhost", "::1")


class RefusingProxy:
    """The proxy. The environment sets it for every address, including the machine's own."""

    def __init__(self, address: str) -> None:
        self.variables = dict.fromkeys(VARIABLES, address) | dict.fromkeys(EXCLUDING_VARIABLES, "")
        self.hosts: list[str] = []

    @property
    def loopback_hosts(self) -> list[str]:
        """Return the addresses of this machine that it was asked for."""
        return [host for host in self.hosts if host.startswith(LOOPBACK)]


@contextmanager
def refusing_proxy() -> Iterator[RefusingProxy]:
    """Run a proxy for the duration of the context."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            """Refuse a request of any method: `CONNECT host:port` or `GET http://host/path`."""
            _, target, *_ = [*self.rfile.readline(65536).decode("latin-1").split(), "", ""]
            asked = urllib.parse.urlsplit(target if "://" in target else f"//{target}").hostname
            made.hosts.append(asked or target)
            self.wfile.write(b"HTTP/1.0 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = RefusingProxy(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()

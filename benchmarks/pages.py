"""Answers on many ports in the place of as many services. Runs in a container, on the standard library alone.

    python pages.py http://user:4000/metrics 4001 4002 …

`/metrics` is the page of the service that runs, as it is at that moment; everything else is answered with an
empty list.
"""

from __future__ import annotations

import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FRESH_S = 1.0
"""How long a page may be passed on: targets are not all asked at once."""


class Source:
    """The page of the service that runs."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._page = b""
        self._kind = ""
        self._until = 0.0

    def page(self) -> tuple[bytes, str]:
        """The page and its content type."""
        with self._lock:
            if time.monotonic() > self._until:
                with urllib.request.urlopen(self._url, timeout=5) as answer:  # noqa: S310 - our own address
                    self._page, self._kind = answer.read(), answer.headers["Content-Type"]
                self._until = time.monotonic() + FRESH_S
            return self._page, self._kind


def handler(source: Source) -> type[BaseHTTPRequestHandler]:
    """What answers each request."""

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body, kind = source.page() if self.path == "/metrics" else (b"[]", "application/json")
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    return Page


def main() -> None:
    """Serves until it is killed."""
    url, *ports = sys.argv[1:]
    answering = handler(Source(url))
    servers = [ThreadingHTTPServer(("", int(port)), answering) for port in ports]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main()

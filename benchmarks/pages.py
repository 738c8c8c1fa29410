"""Respond on many ports in place of as many services. It runs in a container with only the standard library.

    python pages.py http://user:4000/metrics 4001 4002 …

`/metrics` returns the current page of the running service; every other path returns an empty list.
"""

from __future__ import annotations

import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FRESH_S = 1.0
"""Seconds for which a page is reused, because targets aren't all scraped at the same moment."""


class Source:
    """The metrics page of the running service."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._page = b""
        self._kind = ""
        self._until = 0.0

    def page(self) -> tuple[bytes, str]:
        """Return the page and its content type."""
        with self._lock:
            if time.monotonic() > self._until:
                with urllib.request.urlopen(self._url, timeout=5) as answer:  # noqa: S310 - our own address
                    self._page, self._kind = answer.read(), answer.headers["Content-Type"]
                self._until = time.monotonic() + FRESH_S
            return self._page, self._kind


def handler(source: Source) -> type[BaseHTTPRequestHandler]:
    """Return the request handler."""

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
            """Don't log requests."""

    return Page


def main() -> None:
    """Serve until killed."""
    url, *ports = sys.argv[1:]
    answering = handler(Source(url))
    servers = [ThreadingHTTPServer(("", int(port)), answering) for port in ports]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main()

"""A service that returns the received request, and misbehaves on request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

ECHO_HEADER = "X-Echo"
"""The header that identifies its responses."""


class Echo(BaseHTTPRequestHandler):
    """Responds to every request with a description of it.

    In the query: `status=404`, `header_kib=5` (a response with such a header), `mib=100` (such a body), `hang=1` (no
    response until the gateway times out).
    """

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str]] = []  # noqa: RUF012 - one record of all requests, for who counts them

    def _serve(self) -> None:
        self.seen.append((self.command, self.path))
        received = self._body()
        query = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if "hang" in query:
            # Ends when the gateway closes the connection.
            self.connection.recv(1)
            self.close_connection = True
            return
        answer = json.dumps(
            {
                "method": self.command,
                "path": self.path,
                "body_bytes": received,
                "headers": {name.lower(): value for name, value in self.headers.items()},
            }
        ).encode()
        mebibytes = int(query.get("mib", "0"))
        self.send_response(int(query.get("status", "200")))
        self.send_header(ECHO_HEADER, "1")
        self.send_header("Content-Type", "application/json")
        if kibibytes := int(query.get("header_kib", "0")):
            self.send_header("X-Large", "x" * (kibibytes << 10))
        self.send_header("Content-Length", str(mebibytes << 20 or len(answer)))
        self.end_headers()
        if self.command == "HEAD":
            return
        for _ in range(mebibytes):
            self.wfile.write(b"x" * (1 << 20))
        if not mebibytes:
            self.wfile.write(answer)

    def _body(self) -> int:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            total = 0
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                total += len(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return total
        total, left = 0, int(self.headers.get("Content-Length", "0"))
        while left and (part := self.rfile.read(min(left, 1 << 16))):
            total, left = total + len(part), left - len(part)
        return total

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve

    def log_message(self, format: str, *values: object) -> None:
        """Writes nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: closed connections are part of the tests."""


@contextmanager
def running_echo() -> Iterator[int]:
    """Run the service on a free port of this machine, and return the port."""
    server = _Server(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

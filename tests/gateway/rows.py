"""The rows of kong_behaviour.yaml, and a function that runs one against a gateway."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.gateway.echo import ECHO_HEADER
from tests.gateway.tokens import headers_and_query

FILE = Path(__file__).with_name("kong_behaviour.yaml")
TIMEOUT_S = 60


@dataclass(frozen=True)
class Row:
    """One observed behaviour."""

    name: str
    request: Mapping[str, Any]
    answer: Mapping[str, Any]
    received: Mapping[str, Any] | str | None = None


@dataclass(frozen=True)
class Answer:
    """The received response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_from_service(self) -> bool:
        """Return whether the echo service sent it."""
        return ECHO_HEADER.lower() in self.headers

    @property
    def document(self) -> Mapping[str, Any]:
        """Return the JSON in its body; empty if there is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Gateway:
    """A gateway at an address, and the key of the tokens that it accepts."""

    address: str
    key: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of every request."""

    verify: bool = True

    def ask(self, request: Mapping[str, Any]) -> Answer:
        """Send one request as described in the row, with its path unchanged."""
        carried, query = headers_and_query(request.get("token"), self.key)
        given = {name: _expand_size(value) for name, value in request.get("headers", {}).items()}
        path = request["path"] + (("&" if "?" in request["path"] else "?") + query if query else "")
        size = request.get("body_bytes", 0)
        chunks = (b"x" * min(1 << 16, size - start) for start in range(0, size, 1 << 16))
        connection = self._connection()
        try:
            self._send(connection, request, path, {**self.headers, **carried, **given}, chunks, size)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())
        finally:
            connection.close()

    def _send(
        self,
        connection: http.client.HTTPConnection,
        request: Mapping[str, Any],
        path: str,
        headers: Mapping[str, str],
        chunks: Iterator[bytes],
        size: int,
    ) -> None:
        """Send a request. The gateway may respond, and close the connection, before the end of a body."""
        chunked = request.get("chunked", False)
        connection.putrequest(
            request.get("method", "GET"), path, skip_host="Host" in headers, skip_accept_encoding=True
        )
        for name, value in headers.items():
            connection.putheader(name, value)
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif size:
            connection.putheader("Content-Length", str(size))
        connection.endheaders()
        with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            for chunk in chunks:
                connection.send(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
            if chunked:
                connection.send(b"0\r\n\r\n")

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.address)
        if parts.scheme != "https":
            return http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
        context = ssl.create_default_context()
        if not self.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT_S, context=context)
        if name := self.headers.get("Host"):
            plain = socket.create_connection((parts.hostname or "", parts.port or 443), timeout=TIMEOUT_S)
            connection.sock = context.wrap_socket(plain, server_hostname=name)
        return connection


def load() -> tuple[Mapping[str, Any], tuple[Row, ...]]:
    """Return the configuration of the rows, and the rows."""
    found = yaml.load(FILE.read_text(), yaml.CSafeLoader)
    return found["configuration"], tuple(Row(**row) for row in found["rows"])


def differences(row: Row, answer: Answer, *, services_echo: bool = True) -> list[str]:
    """Return the differences between a response and the row; empty if there are none."""
    wanted, found = row.answer, []
    if answer.status != wanted["status"]:
        found.append(f"status {answer.status} instead of {wanted['status']}: {answer.body[:200]!r}")
    for name, value in wanted.get("headers", {}).items():
        if answer.headers.get(name) != value:
            found.append(f"header {name}: {answer.headers.get(name)!r} instead of {value!r}")
    if "message" in wanted and answer.document.get("message") != wanted["message"]:
        found.append(f"body {answer.body[:200]!r} instead of the message {wanted['message']!r}")
    if row.received is None or not services_echo:
        return found
    if isinstance(row.received, str):
        return [*found, f"a service received {answer.document.get('path')}"] if answer.is_from_service else found
    if not answer.is_from_service:
        return [*found, "no service received it"]
    return [*found, *_not_received(row.received, answer.document)]


def _not_received(wanted: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    found = [
        f"the service received the {key} {actual.get(key)!r} instead of {value!r}"
        for key, value in wanted.items()
        if key != "headers" and actual.get(key) != value
    ]
    headers = actual.get("headers", {})
    return found + [
        f"the service received {name}: {headers.get(name)!r} instead of {value!r}"
        for name, value in wanted.get("headers", {}).items()
        if headers.get(name) != value
    ]


def _expand_size(value: str) -> str:
    """Return a text of the given size: `15 KiB`."""
    number, _, unit = value.partition(" ")
    return "x" * (int(number) << 10) if unit == "KiB" else value

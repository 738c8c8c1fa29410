"""The platform as seen by its users: over TLS, by host name, through the edge and Kong, on either backend.

The host names aren't in DNS: each request goes to the edge's address, with the host name in TLS (SNI) and HTTP.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage
from os import urandom
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from contract import StackOutputs
from settings.catalog import SERVICES
from tests.artifacts import reference_process
from tests.engine.waiting import DEADLINE_S, until

RESPONSE_TIMEOUT_S = 30.0
"""Timeout for one response."""

LARGE_RESPONSE_TIMEOUT_S = 120.0
"""Timeout while ten large bodies are transferred."""

CONCURRENT_LARGE_BODIES = 10

FOREIGN_ORIGIN = "https://attacker.example"
SECURITY_HEADERS = {
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "Referrer-Policy",
    "Permissions-Policy",
}
CERTIFICATE_TYPE = "tls:index/selfSignedCert:SelfSignedCert"


@dataclass(frozen=True)
class Response:
    """One HTTP response."""

    status: int
    headers: HTTPMessage
    body: bytes

    def __repr__(self) -> str:
        """Show the headers, which tell who sent the response."""
        return f"Response({self.status}, {self.headers.items()}, {self.body!r})"

    @property
    def json(self) -> Any:
        """Return the body, parsed as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A running platform with the reference service as each service, seen from outside."""

    address: str
    """Address of the edge, or a name that this machine can resolve."""

    https_port: int
    http_port: int

    public_port: int = 443
    """HTTPS port in public URLs."""

    redirect_status: int = 308
    """Response to plain HTTP."""

    api_host: str
    frontends: Mapping[str, str]
    """Maps front-end names to host names."""

    jwt_secret: str

    services: tuple[str, ...] = tuple(service.name for service in SERVICES)
    """Services behind the gateway; the first one is used if one is enough."""

    public_service: str | None = None
    """The service whose `/public` path requires no token."""

    max_body_mib: int = 10
    """The largest body of a request (`gateway.maxBodyMib`)."""

    certificate: str | None = None
    """The certificate that the edge must present, as PEM; None accepts any."""

    @classmethod
    def of(cls, outputs: StackOutputs[str], **where: Any) -> Self:
        """Return the platform of a stack with these outputs; `where` has the fields that they don't contain."""
        assert outputs.gateway.api is not None, "the stack has no gateway"
        api = urlsplit(outputs.gateway.api)
        return cls(
            api_host=str(api.hostname),
            public_port=api.port or 443,
            frontends={name: str(urlsplit(url).hostname) for name, url in outputs.gateway.frontends.items()},
            services=tuple(outputs.gateway.services),
            jwt_secret=outputs.credentials.jwt_secret,
            **where,
        )

    def journey(self) -> None:
        """Run every check except the rate limit, which would block later requests."""
        self.check_authentication()
        self.check_booking()
        self.check_tenant_isolation()
        self.check_largest_bodies()
        self.check_services()
        self.check_public_paths()
        self.check_correlation_ids()
        self.check_cors()
        self.check_frontends()
        self.check_http_redirect()
        self.check_security_headers()

    # Sending requests.

    def token(self, tenant: uuid.UUID | None = None, expires_in_s: float = 300, **other: str) -> str:
        """Return a signed token for a tenant, by default a new one; `other` may contain `issuer` and `secret`."""
        given = {"secret": self.jwt_secret, **other}
        return reference_process.token(str(tenant or uuid.uuid4()), expires_in_s=expires_in_s, **given)

    def call(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: object = None,
        *,
        content: bytes | None = None,
        host: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = RESPONSE_TIMEOUT_S,
    ) -> Response:
        """Send one request over TLS on a new connection, to the API by default.

        Args:
            method: the HTTP method.
            path: the path with the query.
            token: sent as bearer token.
            body: sent as JSON.
            content: sent unchanged if there is no `body`.
            host: the requested host name.
            headers: additional headers.
            timeout_s: timeout for each step of the connection.

        Raises:
            OSError: no connection, no TLS, or no response in time.
            HTTPException: the response isn't HTTP or is incomplete.
        """
        named = host or self.api_host
        sent = {"Host": self._authority(named), **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None:
            sent["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        with self.connected(named, timeout_s=timeout_s) as encrypted:
            return _ask(encrypted, method, path, content, sent)

    @contextmanager
    def connected(
        self, host: str, context: ssl.SSLContext | None = None, timeout_s: float = RESPONSE_TIMEOUT_S
    ) -> Iterator[ssl.SSLSocket]:
        """Return a connection to the edge for the host; without a context, the edge must present the platform's
        certificate."""
        with (
            socket.create_connection((self.address, self.https_port), timeout_s) as plain,
            (context or self._context()).wrap_socket(plain, server_hostname=host) as encrypted,
        ):
            yield encrypted

    def book(self, tenant: uuid.UUID, service: str | None = None, title: str = "control visit") -> Response:
        """Create an appointment."""
        new = {"title": title, "starts_at": "2030-01-01T09:00:00Z"}
        return self.call("POST", f"{self._api(service)}/appointments", self.token(tenant), new)

    def listed(self, tenant: uuid.UUID, service: str | None = None) -> Response:
        """Return the tenant's appointments."""
        return self.call("GET", f"{self._api(service)}/appointments", self.token(tenant))

    def titles(self, tenant: uuid.UUID, service: str | None = None) -> list[str]:
        """Return the titles that the tenant sees."""
        answer = self.listed(tenant, service)
        assert answer.status == 200, answer
        return [one["title"] for one in answer.json]

    # The checks of the journey.

    def check_authentication(self) -> None:
        """Check that requests without a valid token get 401."""
        path = f"{self._api()}/appointments"
        refused = {
            "no token": None,
            "nonsense": "nonsense",
            "expired": self.token(expires_in_s=-60),
            "another issuer": self.token(issuer="somebody-else"),
            "another signature": self.token(secret="not the platform's signing key, yet long enough"),
        }
        assert {why: self.call("GET", path, token).status for why, token in refused.items()} == dict.fromkeys(
            refused, 401
        )
        assert self.call("GET", f"{path}?jwt={self.token()}").status == 401, "a token in the address"
        assert self.call("GET", path, self.token()).status == 200

    def check_booking(self) -> None:
        """Check that a booked appointment is stored, listed from the database and then from the cache, and published to
        Kafka."""
        tenant, title = uuid.uuid4(), "première visite"
        booked = self.book(tenant, title=title)
        assert booked.status == 201, booked
        assert booked.json["tenant_id"] == str(tenant)
        answers = [self.listed(tenant) for _ in range(2)]
        assert [(one.status, one.headers["X-Cache"]) for one in answers] == [(200, "miss"), (200, "hit")]
        assert [[row["id"] for row in one.json] for one in answers] == [[booked.json["id"]]] * 2
        until("the event has been consumed from Kafka", lambda: self.events(tenant) >= 1)

    def events(self, tenant: uuid.UUID, service: str | None = None) -> int:
        """Return the number of the tenant's bookings that a service has read back from Kafka."""
        answer = self.call("GET", f"{self._api(service)}/events", self.token(tenant))
        assert answer.status == 200, answer
        return int(answer.json["by_type"].get("appointment.created", 0))

    def check_tenant_isolation(self) -> None:
        """Check that two tenants never see each other's rows, neither in the list nor by ID."""
        ours, theirs = uuid.uuid4(), uuid.uuid4()
        booked = {tenant: self.book(tenant, title=str(tenant)).json["id"] for tenant in (ours, theirs)}
        for tenant, other in ((ours, theirs), (theirs, ours)):
            assert self.titles(tenant) == [str(tenant)]
            path = f"{self._api()}/appointments"
            assert self.call("GET", f"{path}/{booked[tenant]}", self.token(tenant)).status == 200
            assert self.call("GET", f"{path}/{booked[other]}", self.token(tenant)).status == 404
            assert self.call("POST", f"{path}/{booked[other]}/cancel", self.token(tenant)).status == 404

    def check_largest_bodies(self) -> None:
        """Check that ten concurrent uploads and downloads of the largest allowed size return unchanged."""
        tenant = uuid.uuid4()
        booked = [self.book(tenant, title="with a scan").json["id"] for _ in range(CONCURRENT_LARGE_BODIES)]
        paths = [f"{self._api()}/appointments/{one}/attachment" for one in booked]
        contents = [urandom(self.max_body_mib << 20) for _ in paths]

        def upload(path: str, content: bytes) -> int:
            token = self.token(tenant)
            return self.call("PUT", path, token, content=content, timeout_s=LARGE_RESPONSE_TIMEOUT_S).status

        def download(path: str) -> Response:
            return self.call("GET", path, self.token(tenant), timeout_s=LARGE_RESPONSE_TIMEOUT_S)

        with ThreadPoolExecutor(CONCURRENT_LARGE_BODIES) as clients:
            assert list(clients.map(upload, paths, contents)) == [204] * CONCURRENT_LARGE_BODIES
            answers = list(clients.map(download, paths))
        assert [one.status for one in answers] == [200] * CONCURRENT_LARGE_BODIES
        assert [one.body == content for one, content in zip(answers, contents, strict=True)] == [
            True
        ] * CONCURRENT_LARGE_BODIES
        # A test's volume is small.
        assert {upload(path, b"") for path in paths} == {204}

    def check_services(self) -> None:
        """Check that each service answers on its own route, has its own database, and receives the events of all
        services."""
        tenant = uuid.uuid4()
        for name in self.services:
            info = self.call("GET", f"{self._api(name)}/public/info", self.token())
            assert (info.status, info.json["service"]) == (200, name)
            assert self.book(tenant, name, title=f"kept by {name}").status == 201, name
        assert {name: self.titles(tenant, name) for name in self.services} == {
            name: [f"kept by {name}"] for name in self.services
        }
        for name in self.services:
            what = f"{name} has read every service's event"
            until(what, lambda name=name: self.events(tenant, name) >= len(self.services))  # type: ignore[misc]
        assert self.call("GET", "/api/no-such-service/public/info", self.token()).status == 404

    def check_public_paths(self) -> None:
        """Check that a public path needs no token, and that the same path of another service does."""
        for name in self.services:
            expected = 200 if name == self.public_service else 401
            assert self.call("GET", f"{self._api(name)}/public/info").status == expected, name

    def check_correlation_ids(self) -> None:
        """Check that the client's correlation ID is returned once, and that a request without one gets a new one."""
        path, ours = f"{self._api()}/public/info", f"journey-{uuid.uuid4()}"
        answer = self.call("GET", path, self.token(), headers={"X-Correlation-ID": ours})
        assert answer.headers.get_all("X-Correlation-ID") == [ours]
        (given,) = self.call("GET", path, self.token()).headers.get_all("X-Correlation-ID") or []
        assert given

    def check_cors(self) -> None:
        """Check that pages of a front end may call the API and other pages may not."""
        ours = [f"https://{self._authority(host)}" for host in self.frontends.values()]
        for origin in (*ours, FOREIGN_ORIGIN):
            headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            headers["Access-Control-Request-Headers"] = "authorization,content-type"
            preflight = self.call("OPTIONS", f"{self._api()}/appointments", headers=headers)
            answer = self.call("GET", f"{self._api()}/public/info", self.token(), headers={"Origin": origin})
            expected = None if origin == FOREIGN_ORIGIN else origin
            assert answer.status == 200
            for one in (preflight, answer):
                assert one.headers["Access-Control-Allow-Origin"] == expected, origin
            if expected:
                assert preflight.status in (200, 204), "without a token"
                assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
                assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()

    def check_frontends(self) -> None:
        """Check that each front end answers on its own host name and knows the API's address."""
        for name, host in self.frontends.items():
            page = self.call("GET", "/some/page", host=host)
            assert (page.status, page.headers["X-Frontend"]) == (200, name)
            assert f"https://{self._authority(self.api_host)}" in page.body.decode()

    def check_http_redirect(self) -> None:
        """Check that unencrypted requests are redirected to HTTPS with path and query unchanged."""
        for host in (self.api_host, *self.frontends.values()):
            with socket.create_connection((self.address, self.http_port), RESPONSE_TIMEOUT_S) as plain:
                answer = _ask(plain, "POST", "/a/path?and=query", b"x", {"Host": host})
            assert answer.status == self.redirect_status
            assert answer.headers["Location"] == f"https://{self._authority(host)}/a/path?and=query"

    def check_security_headers(self) -> None:
        """Check that every host's responses have the security headers, including errors."""
        answers = [self.call("GET", f"{self._api()}/appointments")]
        answers += [self.call("GET", "/", host=host) for host in self.frontends.values()]
        for answer in answers:
            assert {name for name in SECURITY_HEADERS if name not in answer.headers} == set()
            assert "/" not in answer.headers.get("Server", ""), "a version"

    # Checks that not every stack supports.

    def check_rate_limit(self, per_minute: int) -> None:
        """Check that requests over the limit get 429 with `Retry-After`."""
        # Limits count per calendar minute; if one ends meanwhile, the count restarts.
        token = self.token()
        answers = [self.call("GET", f"{self._api()}/public/info", token) for _ in range(per_minute + 1)]
        while answers[-1].status == 200 and len(answers) <= 2 * per_minute:
            answers.append(self.call("GET", f"{self._api()}/public/info", token))
        assert answers[0].status == 200
        assert answers[-1].status == 429
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 60

    def check_unknown_host(self) -> None:
        """Check that an unknown host name gets no certificate (with nginx as the edge)."""
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            self.call("GET", "/", host="unknown.example")

    def served_certificate(self) -> bytes:
        """Return the certificate that the edge presents for the API's host name, as DER, trusted or not."""
        with self.connected(self.api_host, _unverified_context()) as encrypted:
            return encrypted.getpeercert(binary_form=True) or b""

    def seconds_until_recovered(self, deadline_s: float = DEADLINE_S) -> float:
        """Measure the time until every service books, lists and receives events, and every front end answers."""
        began = time.monotonic()
        until("the platform has recovered", self._works, deadline_s)
        return time.monotonic() - began

    def _works(self) -> bool:
        tenant = uuid.uuid4()
        try:
            pages = [self.call("GET", "/", host=host).status for host in self.frontends.values()]
            booked = [self.book(tenant, name).status for name in self.services]
            if set(booked) != {201} or not set(pages) <= {200}:
                return False
            for name in self.services:
                # A lost event never arrives, so try again with another booking.
                until("the event is received", lambda name=name: self.events(tenant, name) >= len(self.services), 5)  # type: ignore[misc]
                assert len(self.titles(tenant, name)) == 1
        except (OSError, HTTPException, AssertionError):
            return False
        return True

    def _api(self, service: str | None = None) -> str:
        return f"/api/{service or self.services[0]}"

    def _authority(self, host: str) -> str:
        return host if self.public_port == 443 else f"{host}:{self.public_port}"

    def _context(self) -> ssl.SSLContext:
        if self.certificate is None:
            return _unverified_context()
        return ssl.create_default_context(cadata=self.certificate)


def _unverified_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def certificate_of(exported: Mapping[str, Any]) -> str:
    """Return the self-signed certificate from the output of `pulumi stack export`."""
    resources = exported["deployment"]["resources"]
    (pem,) = (one["outputs"]["certPem"] for one in resources if one["type"] == CERTIFICATE_TYPE)
    return str(pem)


def _ask(connected: socket.socket, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
    """Send one request on an open connection."""
    connection = HTTPConnection("named-in-the-headers.invalid")
    connection.sock = connected
    try:
        connection.request(method, path, body, {**headers, "Connection": "close"})
        response = connection.getresponse()
        return Response(response.status, response.headers, response.read())
    finally:
        connection.close()

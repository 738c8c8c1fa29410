"""The platform as its users reach it: over TLS, by host name, through the edge and Kong. The same on either backend.

No name server knows the host names: each request goes to the edge's address, and names the host in TLS and in HTTP.
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

ANSWER_S = 30.0
"""Longest wait for one answer."""

LARGE_ANSWER_S = 120.0
"""The same while ten large bodies are on their way."""

LARGE_AT_ONCE = 10

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
class Answer:
    """One HTTP answer."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A running platform, seen from outside, whose services are the reference service."""

    address: str
    """Where the edge listens: an address, or a name that this machine resolves."""

    https_port: int
    http_port: int

    public_port: int = 443
    """HTTPS port in public URLs."""

    redirect_status: int = 308
    """What plain HTTP is answered."""

    api_host: str
    frontends: Mapping[str, str]
    """Front end name to its host name."""

    jwt_secret: str

    services: tuple[str, ...] = tuple(service.name for service in SERVICES)
    """Those that the gateway leads to; the first one is asked where one is enough."""

    public_service: str | None = None
    """The one whose `/public` is configured to need no token."""

    max_body_mib: int = 10
    """The largest body of a request (`gateway.maxBodyMib`)."""

    certificate: str | None = None
    """What the edge has to show, as PEM; None takes any."""

    @classmethod
    def of(cls, outputs: StackOutputs[str], **where: Any) -> Self:
        """The platform of a stack with these outputs; `where` holds the fields that they can't know."""
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
        """Every check but the one over the rate limit, which would shut the door behind it."""
        self.guarded()
        self.booked_and_listed()
        self.tenants_apart()
        self.largest_bodies()
        self.every_service()
        self.public_paths()
        self.correlation()
        self.browsers()
        self.front_ends()
        self.plain_http()
        self.security_headers()

    # One request.

    def token(self, tenant: uuid.UUID | None = None, expires_in_s: float = 300, **other: str) -> str:
        """A signed token of a tenant (of a new one when none is given); `other` may hold `issuer` and `secret`."""
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
        timeout_s: float = ANSWER_S,
    ) -> Answer:
        """One request over TLS, on a connection of its own; to the API unless another host is named.

        Args:
            method: of the request.
            path: with the query.
            token: sent as the bearer's.
            body: sent as JSON.
            content: sent as it is, where there is no `body`.
            host: whose answer is wanted.
            headers: further ones.
            timeout_s: for each step of the connection.

        Raises:
            OSError: no connection, no TLS, or no answer in time.
            HTTPException: the answer isn't HTTP, or is cut off.
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
        self, host: str, context: ssl.SSLContext | None = None, timeout_s: float = ANSWER_S
    ) -> Iterator[ssl.SSLSocket]:
        """A connection to the edge that names the host; without a context, it must show the platform's certificate."""
        with (
            socket.create_connection((self.address, self.https_port), timeout_s) as plain,
            (context or self._context()).wrap_socket(plain, server_hostname=host) as encrypted,
        ):
            yield encrypted

    def book(self, tenant: uuid.UUID, service: str | None = None, title: str = "control visit") -> Answer:
        """POST of an appointment."""
        new = {"title": title, "starts_at": "2030-01-01T09:00:00Z"}
        return self.call("POST", f"{self._api(service)}/appointments", self.token(tenant), new)

    def listed(self, tenant: uuid.UUID, service: str | None = None) -> Answer:
        """GET of the tenant's appointments."""
        return self.call("GET", f"{self._api(service)}/appointments", self.token(tenant))

    def titles(self, tenant: uuid.UUID, service: str | None = None) -> list[str]:
        """What the tenant sees."""
        answer = self.listed(tenant, service)
        assert answer.status == 200, answer
        return [one["title"] for one in answer.json]

    # What the journey checks.

    def guarded(self) -> None:
        """Requests without a valid token get 401."""
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

    def booked_and_listed(self) -> None:
        """A booked appointment is stored, listed from the database and then from the cache, and told to Kafka."""
        tenant, title = uuid.uuid4(), "première visite"
        booked = self.book(tenant, title=title)
        assert booked.status == 201, booked
        assert booked.json["tenant_id"] == str(tenant)
        answers = [self.listed(tenant) for _ in range(2)]
        assert [(one.status, one.headers["X-Cache"]) for one in answers] == [(200, "miss"), (200, "hit")]
        assert [[row["id"] for row in one.json] for one in answers] == [[booked.json["id"]]] * 2
        until("the event has come back from Kafka", lambda: self.events(tenant) >= 1)

    def events(self, tenant: uuid.UUID, service: str | None = None) -> int:
        """How many of the tenant's bookings a service has read back from Kafka."""
        answer = self.call("GET", f"{self._api(service)}/events", self.token(tenant))
        assert answer.status == 200, answer
        return int(answer.json["by_type"].get("appointment.created", 0))

    def tenants_apart(self) -> None:
        """Two tenants never see each other's rows, neither in the list nor by their identifier."""
        ours, theirs = uuid.uuid4(), uuid.uuid4()
        booked = {tenant: self.book(tenant, title=str(tenant)).json["id"] for tenant in (ours, theirs)}
        for tenant, other in ((ours, theirs), (theirs, ours)):
            assert self.titles(tenant) == [str(tenant)]
            path = f"{self._api()}/appointments"
            assert self.call("GET", f"{path}/{booked[tenant]}", self.token(tenant)).status == 200
            assert self.call("GET", f"{path}/{booked[other]}", self.token(tenant)).status == 404
            assert self.call("POST", f"{path}/{booked[other]}/cancel", self.token(tenant)).status == 404

    def largest_bodies(self) -> None:
        """Uploads and downloads of the largest allowed size, ten at once, come back as they were sent."""
        tenant = uuid.uuid4()
        booked = [self.book(tenant, title="with a scan").json["id"] for _ in range(LARGE_AT_ONCE)]
        paths = [f"{self._api()}/appointments/{one}/attachment" for one in booked]
        contents = [urandom(self.max_body_mib << 20) for _ in paths]

        def put(path: str, content: bytes) -> int:
            token = self.token(tenant)
            return self.call("PUT", path, token, content=content, timeout_s=LARGE_ANSWER_S).status

        def got(path: str) -> Answer:
            return self.call("GET", path, self.token(tenant), timeout_s=LARGE_ANSWER_S)

        with ThreadPoolExecutor(LARGE_AT_ONCE) as clients:
            assert list(clients.map(put, paths, contents)) == [204] * LARGE_AT_ONCE
            answers = list(clients.map(got, paths))
        assert [one.status for one in answers] == [200] * LARGE_AT_ONCE
        assert [one.body == content for one, content in zip(answers, contents, strict=True)] == [True] * LARGE_AT_ONCE
        # The volume of a test is small.
        assert {put(path, b"") for path in paths} == {204}

    def every_service(self) -> None:
        """Each service answers on its own route, has a database of its own, and hears what all of them say."""
        tenant = uuid.uuid4()
        for name in self.services:
            told = self.call("GET", f"{self._api(name)}/public/info", self.token())
            assert (told.status, told.json["service"]) == (200, name)
            assert self.book(tenant, name, title=f"kept by {name}").status == 201, name
        assert {name: self.titles(tenant, name) for name in self.services} == {
            name: [f"kept by {name}"] for name in self.services
        }
        for name in self.services:
            what = f"{name} has read every service's event"
            until(what, lambda name=name: self.events(tenant, name) >= len(self.services))  # type: ignore[misc]
        assert self.call("GET", "/api/no-such-service/public/info", self.token()).status == 404

    def public_paths(self) -> None:
        """A public path needs no token; the same path of another service does."""
        for name in self.services:
            expected = 200 if name == self.public_service else 401
            assert self.call("GET", f"{self._api(name)}/public/info").status == expected, name

    def correlation(self) -> None:
        """The client's correlation ID is returned once; a request without one gets a new one."""
        path, ours = f"{self._api()}/public/info", f"journey-{uuid.uuid4()}"
        answer = self.call("GET", path, self.token(), headers={"X-Correlation-ID": ours})
        assert answer.headers.get_all("X-Correlation-ID") == [ours]
        (given,) = self.call("GET", path, self.token()).headers.get_all("X-Correlation-ID") or []
        assert given

    def browsers(self) -> None:
        """A page of a front end may call the API, a page of anybody else's may not."""
        ours = [f"https://{self._authority(host)}" for host in self.frontends.values()]
        for origin in (*ours, FOREIGN_ORIGIN):
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            asked["Access-Control-Request-Headers"] = "authorization,content-type"
            preflight = self.call("OPTIONS", f"{self._api()}/appointments", headers=asked)
            answer = self.call("GET", f"{self._api()}/public/info", self.token(), headers={"Origin": origin})
            expected = None if origin == FOREIGN_ORIGIN else origin
            assert answer.status == 200
            for one in (preflight, answer):
                assert one.headers["Access-Control-Allow-Origin"] == expected, origin
            if expected:
                assert preflight.status in (200, 204), "without a token"
                assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
                assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()

    def front_ends(self) -> None:
        """Each front end answers on its own host name, and knows where the API is."""
        for name, host in self.frontends.items():
            page = self.call("GET", "/some/page", host=host)
            assert (page.status, page.headers["X-Frontend"]) == (200, name)
            assert f"https://{self._authority(self.api_host)}" in page.body.decode()

    def plain_http(self) -> None:
        """Unencrypted requests are sent to HTTPS, path and query kept."""
        for host in (self.api_host, *self.frontends.values()):
            with socket.create_connection((self.address, self.http_port), ANSWER_S) as plain:
                answer = _ask(plain, "POST", "/a/path?and=query", b"x", {"Host": host})
            assert answer.status == self.redirect_status
            assert answer.headers["Location"] == f"https://{self._authority(host)}/a/path?and=query"

    def security_headers(self) -> None:
        """Every host's responses have the security headers, including errors."""
        answers = [self.call("GET", f"{self._api()}/appointments")]
        answers += [self.call("GET", "/", host=host) for host in self.frontends.values()]
        for answer in answers:
            assert {name for name in SECURITY_HEADERS if name not in answer.headers} == set()
            assert "/" not in answer.headers.get("Server", ""), "a version"

    # What not every stack shows.

    def limited(self, per_minute: int) -> None:
        """Requests over the limit get 429 with `Retry-After`."""
        # Counted by the clock's minutes: when one ends meanwhile, the count begins again.
        token = self.token()
        answers = [self.call("GET", f"{self._api()}/public/info", token) for _ in range(per_minute + 1)]
        while answers[-1].status == 200 and len(answers) <= 2 * per_minute:
            answers.append(self.call("GET", f"{self._api()}/public/info", token))
        assert answers[0].status == 200
        assert answers[-1].status == 429
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 60

    def unknown_host(self) -> None:
        """A host name that isn't the platform's is shown no certificate (nginx as the edge)."""
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            self.call("GET", "/", host="unknown.example")

    def shown_certificate(self) -> bytes:
        """What the edge shows for the API's host name now, as DER, trusted or not."""
        with self.connected(self.api_host, _trusting_anybody()) as encrypted:
            return encrypted.getpeercert(binary_form=True) or b""

    def seconds_until_well(self, deadline_s: float = DEADLINE_S) -> float:
        """How long it takes from now until every service books, lists and hears, and every front end answers."""
        began = time.monotonic()
        until("the platform is well again", self._is_well, deadline_s)
        return time.monotonic() - began

    def _is_well(self) -> bool:
        tenant = uuid.uuid4()
        try:
            pages = [self.call("GET", "/", host=host).status for host in self.frontends.values()]
            booked = [self.book(tenant, name).status for name in self.services]
            if set(booked) != {201} or not set(pages) <= {200}:
                return False
            for name in self.services:
                # An event that got lost meanwhile never comes: another booking is another try.
                until("heard", lambda name=name: self.events(tenant, name) >= len(self.services), 5)  # type: ignore[misc]
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
            return _trusting_anybody()
        return ssl.create_default_context(cadata=self.certificate)


def _trusting_anybody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def certificate_of(exported: Mapping[str, Any]) -> str:
    """The self-signed certificate in what `pulumi stack export` gives."""
    resources = exported["deployment"]["resources"]
    (pem,) = (one["outputs"]["certPem"] for one in resources if one["type"] == CERTIFICATE_TYPE)
    return str(pem)


def _ask(connected: socket.socket, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
    """One request on a connection that is there."""
    connection = HTTPConnection("named-in-the-headers.invalid")
    connection.sock = connected
    try:
        connection.request(method, path, body, {**headers, "Connection": "close"})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()

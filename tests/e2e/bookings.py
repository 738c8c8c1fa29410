"""Typical user requests, mostly bookings, and a ledger of the acknowledged bookings."""

from __future__ import annotations

import itertools
import random
import secrets
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from contract import StackOutputs
from tests.e2e.load import Request
from tests.e2e.platform import Platform, Response
from tests.engine.stores import Stores

TENANTS = 100
VALID_S = 7200.0


@dataclass(frozen=True)
class Booking:
    """An appointment whose booking returned 201."""

    service: str
    tenant: uuid.UUID
    identifier: str
    title: str
    """The title is unique to one request."""


@dataclass(frozen=True)
class Row:
    """An appointment as stored in a service's database."""

    service: str
    identifier: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The ledger compared with the rows in the databases."""

    acknowledged: int
    missing: Sequence[Booking]
    """Titles of acknowledged bookings that are missing from the database."""

    repeated: Sequence[str]
    """Titles stored more often than the one time they were sent."""

    unanswered: int
    """Rows of requests whose response didn't arrive. They may or may not be stored."""

    @property
    def agrees(self) -> bool:
        """Return whether every acknowledged row exists, and none twice."""
        return not self.missing and not self.repeated


@dataclass
class Bookings:
    """An endless mix of requests: bookings, lists, single appointments, front-end pages."""

    platform: Platform
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    """Prefix of every booking's title."""

    acknowledged: list[Booking] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(7)  # noqa: S311 - no secret
        tenants = [uuid.uuid4() for _ in range(TENANTS)]
        self._tokens = {tenant: self.platform.token(tenant, expires_in_s=VALID_S) for tenant in tenants}
        self._numbers = itertools.count()
        self._kinds: dict[Callable[[], Request], int] = {self._book: 40, self._list: 30, self._show: 20}
        if self.platform.frontends:
            self._kinds[self._page] = 10

    @property
    def tenants(self) -> list[uuid.UUID]:
        """Return the tenants of the bookings."""
        return [*self._tokens]

    def next(self) -> Request:
        """Return the next request of the mix."""
        (kind,) = self._random.choices([*self._kinds], [*self._kinds.values()])
        return kind()

    def compared(self, rows: Sequence[Row]) -> Comparison:
        """Compare the ledger with the rows of all databases whose title begins with `run`."""
        present = {(row.service, row.identifier, row.title) for row in rows}
        counted = Counter(row.title for row in rows)
        known = {one.title for one in self.acknowledged}
        return Comparison(
            acknowledged=len(self.acknowledged),
            missing=[one for one in self.acknowledged if (one.service, one.identifier, one.title) not in present],
            repeated=[title for title, times in counted.items() if times > 1],
            unanswered=len(counted.keys() - known),
        )

    def _book(self) -> Request:
        service, tenant = self._service(), self._tenant()
        title = f"{self.run}-{next(self._numbers)}"

        def send() -> Response:
            new = {"title": title, "starts_at": "2030-01-01T09:00:00Z"}
            answer = self.platform.call("POST", f"/api/{service}/appointments", self._tokens[tenant], new)
            if answer.status == 201:
                self.acknowledged.append(Booking(service, tenant, answer.json["id"], title))
            return answer

        return Request(send, "book")

    def _list(self) -> Request:
        path, token = f"/api/{self._service()}/appointments", self._tokens[self._tenant()]
        return Request(lambda: self.platform.call("GET", path, token), "list")

    def _show(self) -> Request:
        if not self.acknowledged:
            return self._book()
        one = self._random.choice(self.acknowledged)
        path, token = f"/api/{one.service}/appointments/{one.identifier}", self._tokens[one.tenant]
        return Request(lambda: self.platform.call("GET", path, token), "show")

    def _page(self) -> Request:
        host = self._random.choice([*self.platform.frontends.values()])
        return Request(lambda: self.platform.call("GET", "/", host=host), "page")

    def _service(self) -> str:
        return self._random.choice(self.platform.services)

    def _tenant(self) -> uuid.UUID:
        return self._random.choice(self.tenants)


def stored(outputs: StackOutputs[str], run: str, postgres: tuple[str, int] | None = None) -> list[Row]:
    """Return the appointments of a run from the database of every service behind the gateway.

    The query runs as the superuser, who sees the rows of every tenant.

    `postgres` overrides the server's address from the outputs.
    """
    rows: list[Row] = []
    for service in outputs.gateway.services:
        database = outputs.postgres.databases[service]
        with Stores(outputs, postgres).connect(database=database.name) as session:
            found = session.execute("SELECT id::text, title FROM appointments WHERE title LIKE %s", [f"{run}-%"])
            rows += [Row(service, identifier, title) for identifier, title in found]
    return rows

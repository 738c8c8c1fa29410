"""What services report while a store is away, and what became of the events: the same on either backend."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from contract import StackOutputs
from tests.e2e.bookings import Bookings, Row, stored
from tests.e2e.platform import Platform
from tests.engine.stores import Stores
from tests.engine.waiting import until

ASK = (
    "import sys, urllib.request as u\n"
    "try: answer = u.urlopen(sys.argv[1], timeout=30)\n"
    "except u.HTTPError as error: answer = error\n"
    "print(answer.status, answer.read().decode())"
)
"""Python for a service's container: status and body of an answer."""


@dataclass(frozen=True)
class Inside:
    """The services, asked from inside, past the gateway."""

    platform: Platform
    ask: Callable[[str, str], str]
    """What `ASK` prints for a service and a path."""

    def health(self, service: str) -> tuple[int, Any]:
        """Status and body of the readiness answer."""
        status, _, body = self.ask(service, "/health").partition(" ")
        return int(status), json.loads(body)

    def metrics(self, service: str) -> dict[str, float]:
        """Every sample, spelled as in the exposition, and its value."""
        samples = re.findall(r"^([^#\s].*) (\S+)$", self.ask(service, "/metrics").partition(" ")[2], re.MULTILINE)
        return {sample: float(value) for sample, value in samples}

    def wait_until_away(self, *dependencies: str) -> None:
        """Waits until every service reports that just these are unavailable, and is ready all the same."""
        expected = (200, {"status": "degraded" if dependencies else "ok", "dependencies": states(dependencies)})
        for service in self.platform.services:
            what = f"{service} reports {', '.join(dependencies) or 'nothing'} unavailable"
            until(what, lambda service=service: self.health(service) == expected)  # type: ignore[misc]
            metrics = self.metrics(service)
            for dependency, state in states(dependencies).items():
                assert metrics[f'pti_dependency_up{{dependency="{dependency}"}}'] == (state == "ok")

    def events_waiting(self) -> float:
        """Events that wait for Kafka, of all services."""
        return sum(self.metrics(service)["pti_outbox_events"] for service in self.platform.services)


def states(away: Iterable[str]) -> dict[str, str]:
    """Dependency to what a service reports of it."""
    return {name: "unavailable" if name in away else "ok" for name in ("postgres", "redis", "kafka")}


def every_event_arrived_once(
    outputs: StackOutputs[str], bookings: Bookings, postgres: tuple[str, int] | None = None
) -> None:
    """Waits until every service has an event of every booking that was committed; none may have more."""
    rows: list[Row] = stored(outputs, bookings.run, postgres)
    assert bookings.compared(rows).agrees, bookings.compared(rows)
    expected = dict.fromkeys(outputs.postgres.databases, len(rows))
    found: dict[str, int] = {}

    def have_arrived() -> bool:
        found.update(events(outputs, bookings, postgres))
        return all(found[service] >= number for service, number in expected.items())

    until("every event has arrived", have_arrived)
    assert found == expected, "more events than bookings"
    print(f"{len(bookings.acknowledged)} bookings acknowledged, {len(rows)} committed; their events: {found}")


def events(outputs: StackOutputs[str], bookings: Bookings, postgres: tuple[str, int] | None) -> dict[str, int]:
    """Service to the number of events of these bookings that it has kept, asked by the superuser."""
    count = "SELECT count(*) FROM received_events WHERE type = 'appointment.created' AND tenant_id = ANY(%s)"
    found = {}
    for service, database in outputs.postgres.databases.items():
        with Stores(outputs, postgres).connect(database=database.name) as session:
            row = session.execute(count, [bookings.tenants]).fetchone()
        assert row
        found[service] = int(row[0])
    return found

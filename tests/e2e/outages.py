"""What services report during a store's outage, and the fate of their events, on either backend."""

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

ASK_SCRIPT = (
    "import sys, urllib.request as u\n"
    "try: answer = u.urlopen(sys.argv[1], timeout=30)\n"
    "except u.HTTPError as error: answer = error\n"
    "print(answer.status, answer.read().decode())"
)
"""A Python program for a service's container that prints the status and body of a response."""


@dataclass(frozen=True)
class InternalClient:
    """Access to the services from inside, bypassing the gateway."""

    platform: Platform
    ask: Callable[[str, str], str]
    """Returns what `ASK_SCRIPT` prints for a service and a path."""

    def health(self, service: str) -> tuple[int, Any]:
        """Return status and body of the readiness endpoint."""
        status, _, body = self.ask(service, "/health").partition(" ")
        return int(status), json.loads(body)

    def metrics(self, service: str) -> dict[str, float]:
        """Return every sample, by its name in the exposition format."""
        samples = re.findall(r"^([^#\s].*) (\S+)$", self.ask(service, "/metrics").partition(" ")[2], re.MULTILINE)
        return {sample: float(value) for sample, value in samples}

    def wait_until_unavailable(self, *dependencies: str) -> None:
        """Wait until every service reports exactly these dependencies as unavailable, and is still ready."""
        expected = (200, {"status": "degraded" if dependencies else "ok", "dependencies": states(dependencies)})
        for service in self.platform.services:
            what = f"{service} reports {', '.join(dependencies) or 'nothing'} unavailable"
            until(what, lambda service=service: self.health(service) == expected)  # type: ignore[misc]
            metrics = self.metrics(service)
            for dependency, state in states(dependencies).items():
                assert metrics[f'pti_dependency_up{{dependency="{dependency}"}}'] == (state == "ok")

    def outbox_events(self) -> float:
        """Return the number of events that wait for Kafka in all services."""
        return sum(self.metrics(service)["pti_outbox_events"] for service in self.platform.services)


def states(unavailable: Iterable[str]) -> dict[str, str]:
    """Return the state that a service reports for each dependency."""
    return {name: "unavailable" if name in unavailable else "ok" for name in ("postgres", "redis", "kafka")}


def check_events_arrived_once(
    outputs: StackOutputs[str], bookings: Bookings, postgres: tuple[str, int] | None = None
) -> None:
    """Wait until every service has one event per committed booking; none may have more."""
    rows: list[Row] = stored(outputs, bookings.run, postgres)
    assert bookings.compared(rows).agrees, bookings.compared(rows)
    expected = dict.fromkeys(outputs.postgres.databases, len(rows))
    found: dict[str, int] = {}

    def all_arrived() -> bool:
        found.update(events(outputs, bookings, postgres))
        return all(found[service] >= number for service, number in expected.items())

    until("every event has arrived", all_arrived)
    assert found == expected, "more events than bookings"
    print(f"{len(bookings.acknowledged)} bookings acknowledged, {len(rows)} committed; their events: {found}")


def events(outputs: StackOutputs[str], bookings: Bookings, postgres: tuple[str, int] | None) -> dict[str, int]:
    """Map each service to the number of events that it has stored for these bookings, queried as the superuser."""
    count = "SELECT count(*) FROM received_events WHERE type = 'appointment.created' AND tenant_id = ANY(%s)"
    found = {}
    for service, database in outputs.postgres.databases.items():
        with Stores(outputs, postgres).connect(database=database.name) as session:
            row = session.execute(count, [bookings.tenants]).fetchone()
        assert row
        found[service] = int(row[0])
    return found

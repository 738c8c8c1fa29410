"""Sends requests through the gateway while a test breaks something, and checks that no booking was lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.e2e.bookings import Bookings, stored
from tests.e2e.kubernetes.pods import port_forward
from tests.e2e.kubernetes.stack import ClusterStack, is_settled
from tests.e2e.load import Load
from tests.engine.waiting import until
from tests.failures import FailureRecord

OUTAGE_REQUESTS = 100
"""Requests that are sent during an outage, 4 per second."""


@contextmanager
def under_load(
    stack: ClusterStack,
    failure_record: FailureRecord,
    max_duration_s: float = 400,
    services: tuple[str, ...] | None = None,
) -> Iterator[Load]:
    """Send requests for the duration of the context, to all services or only to some. Afterwards, check that every
    acknowledged booking exists and every pod is ready."""
    platform = stack.platform()
    bookings = Bookings(replace(platform, services=services or platform.services))
    with Load(bookings.next, per_second=4, max_duration_s=max_duration_s, workers=64) as load:
        until("bookings succeed", lambda: len(bookings.acknowledged) > 5)
        yield load
        before = len(bookings.acknowledged)
        until("bookings succeed again", lambda: len(bookings.acknowledged) > before)
    until("every pod is ready", stack.all_ready)
    with port_forward(stack, "statefulset/postgres", 5432) as port:
        compared = bookings.compared(stored(stack.outputs(), bookings.run, ("127.0.0.1", port)))
    assert compared.agrees, compared
    failure_record.set_lost(f"nothing: {compared.acknowledged} of {compared.acknowledged} acknowledged bookings")
    failure_record.set_requests(load)


def requests_sent(load: Load) -> None:
    """Wait until requests were sent during an outage."""
    before = len(load.samples)
    until("requests were sent meanwhile", lambda: len(load.samples) > before + OUTAGE_REQUESTS)


def is_rolled_out(stack: ClusterStack) -> bool:
    """Return whether every controller has all of its pods, ready and from its current template."""
    return (
        all(map(is_settled, stack.objects("deployments")))
        and all(one["status"].get("readyReplicas") == one["spec"]["replicas"] for one in stack.objects("statefulsets"))
        and stack.all_ready()
    )


def recovered(stack: ClusterStack) -> None:
    """Wait until every pod is ready and the platform answers."""
    until("every pod is ready", lambda: is_rolled_out(stack))
    stack.platform().seconds_until_recovered()

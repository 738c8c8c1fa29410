"""The load generator of the end-to-end tests: schedule, latencies, and the ledger of acknowledged bookings."""

from __future__ import annotations

import http.client
import threading
import uuid

import pytest

from tests.e2e.bookings import Booking, Bookings, Row
from tests.e2e.load import Load, Request
from tests.e2e.platform import Platform, Response
from tests.engine.waiting import until

OK_RESPONSE = Response(200, http.client.HTTPMessage(), b"")
UNAVAILABLE = Response(503, http.client.HTTPMessage(), b"no database")


def test_each_request_is_due_at_its_own_time() -> None:
    with Load.of(lambda: OK_RESPONSE, per_second=200) as load:
        until("some requests are answered", lambda: load.succeeded > 20)
    numbers = sorted(round(sample.due_s * 200) for sample in load.samples)
    assert [sample.due_s for sample in load.samples] == [
        pytest.approx(round(sample.due_s * 200) / 200) for sample in load.samples
    ]
    assert len(set(numbers)) == len(numbers)
    # Requests that a worker had taken but not sent at the end are left out.
    assert len(set(range(numbers[-1] + 1)) - set(numbers)) <= load.workers
    assert all(sample.due_s <= sample.sent_s <= sample.ended_s for sample in load.samples)


def test_a_stall_counts_for_every_request_that_was_due_during_it() -> None:
    """If latency were measured from the moment of sending, delayed requests would seem fast."""
    stalled, released = threading.Event(), threading.Event()
    ended_s = 0.0

    def send() -> Response:
        if not stalled.is_set():
            stalled.set()
            released.wait()
        return OK_RESPONSE

    with Load(lambda: Request(send), per_second=100, workers=1) as load:
        stalled.wait()
        until("requests are due", lambda: load.now_s() > 0.2)
        ended_s = load.now_s()
        released.set()
        until("they are answered", lambda: load.succeeded > 20)
    meanwhile = [sample for sample in load.samples if sample.due_s < ended_s]
    assert len(meanwhile) >= 20
    assert all(sample.latency_s >= ended_s - sample.due_s for sample in meanwhile)


def test_the_load_stops_by_itself() -> None:
    with Load.of(lambda: OK_RESPONSE, per_second=100, max_duration_s=0.05) as load:
        until("its workers have ended", lambda: not any(thread.is_alive() for thread in load._threads))
    due = sorted(sample.due_s for sample in load.samples)  # Samples are in the order in which they ended.
    assert due == [pytest.approx(number / 100) for number in range(6)]


def test_errors_and_refusals_are_counted_as_separate_failures() -> None:
    def fail_to_connect() -> Response:
        raise ConnectionResetError("gone")

    requests = iter(
        [Request(lambda: UNAVAILABLE, "book"), Request(fail_to_connect, "list"), Request(lambda: OK_RESPONSE, "show")]
    )
    with Load(lambda: next(requests), per_second=100, max_duration_s=0.02, workers=1) as load:
        until("all are answered", lambda: len(load.samples) == 3)
    assert [(one.kind, one.failure) for one in load.samples] == [
        ("book", "503 b'no database'"),
        ("list", "ConnectionResetError('gone')"),
        ("show", None),
    ]
    assert (load.succeeded, len(load.failures)) == (1, 2)


@pytest.fixture
def bookings() -> Bookings:
    """Two acknowledged bookings that were never sent to the platform."""
    platform = Platform(
        address="localhost", https_port=1, http_port=1, api_host="api", frontends={}, jwt_secret="x" * 32, services=()
    )
    tenant = uuid.uuid4()
    booked = [Booking("rdv", tenant, "id-0", "run-0"), Booking("user", tenant, "id-1", "run-1")]
    return Bookings(platform, run="run", acknowledged=booked)


STORED_ROWS = [Row("rdv", "id-0", "run-0"), Row("user", "id-1", "run-1")]


def test_a_row_without_a_response_may_exist(bookings: Bookings) -> None:
    compared = bookings.compared([*STORED_ROWS, Row("rdv", "id-2", "run-2")])
    assert compared.agrees
    assert (compared.acknowledged, compared.unanswered) == (2, 1)


@pytest.mark.parametrize(
    "rows",
    [STORED_ROWS[:1], [STORED_ROWS[0], Row("user", "another", "run-1")], [STORED_ROWS[0], Row("rdv", "id-1", "run-1")]],
)
def test_an_absent_acknowledged_row_is_missing(bookings: Bookings, rows: list[Row]) -> None:
    compared = bookings.compared(rows)
    assert [one.title for one in compared.missing] == ["run-1"]
    assert not compared.agrees


def test_a_duplicate_row_is_found_acknowledged_or_not(bookings: Bookings) -> None:
    rows = [*STORED_ROWS, Row("rdv", "other", "run-0"), Row("rdv", "a", "run-2"), Row("rdv", "b", "run-2")]
    compared = bookings.compared(rows)
    assert compared.repeated == ["run-0", "run-2"]
    assert not compared.agrees

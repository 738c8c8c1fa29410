"""What the load benchmark computes before it prints the results."""

from __future__ import annotations

import math

import pytest

from benchmarks.load_report import Events, Window, percentile
from tests.e2e.load import Sample


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1, 100), (0.001, 1)], ids=lambda value: str(value)
)
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile([*range(100, 0, -1)], share) == expected


def test_the_only_value_is_every_percentile() -> None:
    assert [percentile([7.0], share) for share in (0.5, 0.99)] == [7.0, 7.0]
    assert math.isnan(percentile([], 0.5))


def test_a_request_belongs_to_the_window_in_which_it_was_due() -> None:
    samples = [Sample("book", due, due + 5, due + 6, None) for due in (0.0, 9.9, 10.0, 19.9, 20.0)]
    assert [one.due_s for one in Window("redis", 10, 20).of(samples)] == [10.0, 19.9]


def test_acknowledged_events_that_were_not_read_are_lost() -> None:
    assert Events(acknowledged=100, read=99).lost == 1
    assert Events(acknowledged=100, read=100).lost == 0
    assert Events(acknowledged=100, read=101).lost == 0, "a booking whose answer was lost"

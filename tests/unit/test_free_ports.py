"""Ports for the servers of tests that run at the same time."""

from __future__ import annotations

from itertools import combinations

from tests.ports import WORKERS, candidates


def test_workers_and_other_suites_draw_from_different_ports_below_those_of_nodes() -> None:
    ranges = [set(candidates(worker)) for worker in (None, *(f"gw{number}" for number in range(WORKERS)))]
    assert all(one.isdisjoint(other) for one, other in combinations(ranges, 2))
    assert set.union(*ranges) == set(range(20_000, 30_000))

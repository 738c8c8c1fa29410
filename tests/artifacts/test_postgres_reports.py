"""Many large concurrent reports, on a server with the parameters and the /dev/shm size of its memory limit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from components.stores.postgres.parameters import parameters
from settings.stores.postgres import PostgresSettings
from tests.artifacts.postgres_server import Installation
from tests.artifacts.postgres_start import Container, container
from tests.full_run import only_in_full_runs

ROWS = 500_000
CUSTOMERS = ROWS // 5
REPORT = """
    SELECT count(*), sum(groups.bookings) FROM (
        SELECT a.customer, count(*) AS bookings FROM booking a JOIN booking b USING (id)
        GROUP BY a.customer ORDER BY a.customer
    ) AS groups
"""
"""A report that needs a hash table of all rows, and one of all customers."""

PARALLEL_COSTS = {"parallel_setup_cost": "0", "parallel_tuple_cost": "0"}
"""Costs with which the planner uses parallel workers even for this small report, if the parameters allow any."""


pytestmark = only_in_full_runs


@pytest.fixture(params=[PostgresSettings(), PostgresSettings(memory_mib=16_384)], ids=["1 GiB", "16 GiB, parallel"])
def store(image_installation: Installation, request: pytest.FixtureRequest) -> Iterator[Container]:
    """A server with a table of bookings, five per customer."""
    if os.geteuid() != 0:
        pytest.skip("a separate /dev/shm needs root")
    settings: PostgresSettings = request.param
    with container(image_installation) as one:
        one.settings = parameters(settings) | PARALLEL_COSTS
        one.shm_mib = settings.memory.shm_mib
        with one.start_and_connect() as session:
            session.execute("CREATE UNLOGGED TABLE booking (id int, customer int, filling text)")
            session.execute(
                "INSERT INTO booking SELECT n, n %% %s, repeat('x', 60) FROM generate_series(1, %s) n",
                [CUSTOMERS, ROWS],
            )
            session.execute("ANALYZE booking")
        yield one


def test_twelve_concurrent_reports_succeed(store: Container) -> None:
    """With 128 MiB of shared memory for all, eight of twelve reports failed: could not resize shared memory segment."""

    def report(_: int) -> object:
        with store.connect() as session:
            return session.execute(REPORT).fetchone()

    with ThreadPoolExecutor(12) as pool:
        assert {*pool.map(report, range(12))} == {(CUSTOMERS, ROWS)}

"""The whole platform on Docker, killed at twenty moments of updates, removals and creations: one `up` completes each.

It takes more than an hour. `PTI_TEST_KILLS` changes the number of moments.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest

from tests.e2e.full_stack import FullStack, configuration, full_stack, third_party_secrets
from tests.engine import docker_engine, kills

KILLS = int(os.environ.get("PTI_TEST_KILLS", "20"))
TENANT = uuid.uuid4()
BOOKING_TITLE = "kept through every kill"
OTHER_VALUES: tuple[dict[str, Any], ...] = (
    {"postgres": {"memoryMib": 1040}, "redis": {"maxMemoryMib": 96}, "services": {"memoryMib": 200}},
    {"postgres": {"memoryMib": 1056}, "redis": {"maxMemoryMib": 112}, "services": {"memoryMib": 208}},
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullStack]:
    """The platform, up, with a booking."""
    described = configuration({"deploy": "all"})
    with full_stack(tmp_path_factory.mktemp("stack"), described) as made:
        made.set_secrets(third_party_secrets())
        made.up().succeeded()
        assert made.platform().book(TENANT, title=BOOKING_TITLE).status == 201
        yield made


def test_one_up_completes_an_operation_killed_at_any_moment(stack: FullStack) -> None:
    workloads = docker_engine.workloads(stack.name)
    assert set(workloads.values()) == {"healthy"}
    values = cycle(OTHER_VALUES)
    killed = kills.Killed(stack, lambda: stack.configure(next(values)))
    killed.measure()

    for kill in kills.drawn(KILLS):
        killed.converges(kill)
        assert docker_engine.workloads(stack.name) == workloads
        assert BOOKING_TITLE in stack.platform().titles(TENANT)

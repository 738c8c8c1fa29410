"""Pulumi is killed at twenty moments of updates, removals and creations of the whole platform on Docker.

One `up` completes each of them.

`PTI_TEST_KILLS` selects some of the moments.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import cycle
from typing import Any

import pytest

from tests.e2e.counted import counted
from tests.e2e.full_stack import FullStack, configuration, full_stack, third_party_secrets
from tests.engine import docker_engine, kills
from tests.engine.kills import Kill, Killed
from tests.engine.waiting import until
from tests.failures import FailureRecord

TENANT = uuid.uuid4()
BOOKING_TITLE = "kept through every kill"
OTHER_VALUES: tuple[dict[str, Any], ...] = (
    {"postgres": {"memoryMib": 1040}, "redis": {"maxMemoryMib": 96}, "services": {"memoryMib": 200}},
    {"postgres": {"memoryMib": 1056}, "redis": {"maxMemoryMib": 112}, "services": {"memoryMib": 208}},
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullStack]:
    """The platform, not yet up."""
    with full_stack(tmp_path_factory.mktemp("stack"), configuration({"deploy": "all"})) as made:
        made.set_secrets(third_party_secrets())
        yield made


@pytest.fixture(scope="module")
def killed(stack: FullStack) -> Killed:
    """The platform, up, with a booking."""
    created = stack.up().succeeded()
    assert stack.platform().book(TENANT, title=BOOKING_TITLE).status == 201
    values = cycle(OTHER_VALUES)
    return Killed(stack, created, change=lambda: stack.configure(next(values)), empty=stack.lose_all_but_data)


@pytest.fixture(scope="module")
def workloads(killed: Killed, stack: FullStack) -> set[str]:
    """Every workload, before the first kill."""
    return {*docker_engine.workloads(stack.name)}


@pytest.mark.parametrize("kill", kills.of_a_platform(), ids=lambda kill: kill.name)
def test_one_up_completes_an_operation_killed_at_any_moment(
    stack: FullStack, killed: Killed, workloads: set[str], kill: Kill, failure_record: FailureRecord
) -> None:
    failure_record.begin(kill.title, on="Docker", effect=kills.EFFECT)
    # During a removal or a creation, there is no platform that could respond.
    with counted(stack.platform(), failure_record) if kill.operation == "update" else nullcontext():
        seconds = killed.converges(kill)
    assert docker_engine.workloads(stack.name).keys() == workloads
    until("every workload is healthy", lambda: {*docker_engine.long_running(stack.name).values()} == {"healthy"})
    assert BOOKING_TITLE in stack.platform().titles(TENANT)
    failure_record.set_recovery_s(seconds)
    failure_record.set_lost("nothing: a booking made before the first kill exists")

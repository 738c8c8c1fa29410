"""Pulumi is killed at twenty moments of updates, removals and creations of the prod stack: one `up` completes each.

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
from tests.e2e.kubernetes.stack import ClusterStack
from tests.engine import kills
from tests.engine.kills import Kill, Killed
from tests.engine.waiting import until
from tests.failures import FailureRecord

TENANT = uuid.uuid4()
BOOKING_TITLE = "kept through every kill"
OTHER_VALUES: tuple[dict[str, Any], ...] = (
    {
        "postgres": {"memoryMib": 1040},
        "redis": {"maxMemoryMib": 72},
        "services": {"memoryMib": 200},
        "gateway": {"rateLimit": {"perMinute": 90_000}},
    },
    {
        "postgres": {"memoryMib": 1056},
        "redis": {"maxMemoryMib": 80},
        "services": {"memoryMib": 208},
        "gateway": {"rateLimit": {"perMinute": 80_000}},
    },
)


@pytest.fixture(scope="module")
def killed(stack: ClusterStack) -> Iterator[Killed]:
    """Production, up, with a booking. The next module brings it to the state it needs."""
    created = stack.up().succeeded()
    assert stack.platform().book(TENANT, title=BOOKING_TITLE).status == 201
    values = cycle(OTHER_VALUES)
    with stack.temporary_configuration():
        yield Killed(
            stack,
            created,
            change=lambda: stack.change(next(values)),
            empty=lambda: stack.destroy().succeeded(),
        )


@pytest.mark.parametrize("kill", kills.of_a_platform(), ids=lambda kill: kill.name)
def test_one_up_completes_an_operation_killed_at_any_moment(
    stack: ClusterStack, killed: Killed, kill: Kill, failure_record: FailureRecord
) -> None:
    failure_record.begin(kill.title, on="Kubernetes", effect=kills.EFFECT)
    # During a removal or a creation, there is no platform that could respond.
    with counted(stack.platform(), failure_record) if kill.operation == "update" else nullcontext():
        seconds = killed.converges(kill)
    until("every pod is ready", stack.all_ready)
    assert BOOKING_TITLE in stack.platform().titles(TENANT)
    failure_record.set_recovery_s(seconds)
    failure_record.set_lost("nothing: a booking made before the first kill exists")

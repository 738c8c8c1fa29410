"""Production, killed at twenty moments of updates, removals and creations: one `up` completes each.

It takes hours on two cores. `PTI_TEST_KILLS` changes the number of moments.
"""

from __future__ import annotations

import os
import uuid
from itertools import cycle
from typing import Any

from tests.e2e.kubernetes.stack import ClusterStack
from tests.engine import kills
from tests.engine.waiting import until
from tests.failures import Tried

KILLS = int(os.environ.get("PTI_TEST_KILLS", "20"))
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


def test_one_up_completes_an_operation_killed_at_any_moment(stack: ClusterStack, tried: Tried) -> None:
    tried.failure(
        "`up` or `destroy` of production is killed (SIGKILL) at a random moment",
        on="Kubernetes",
        notice="a removal takes the platform down; the next `up` completes everything",
    )
    seconds = []
    stack.up().succeeded()
    assert stack.platform().book(TENANT, title=BOOKING_TITLE).status == 201
    with stack.configured_for_a_while():
        values = cycle(OTHER_VALUES)
        killed = kills.Killed(stack, lambda: stack.change(next(values)))
        killed.measure()
        for kill in kills.drawn(KILLS):
            seconds.append(killed.converges(kill))
            until("every pod is ready", stack.all_ready)
            assert BOOKING_TITLE in stack.platform().titles(TENANT)
    stack.up().succeeded()
    tried.took(max(seconds))
    tried.lost(f"nothing: the booking is there after each of {len(seconds)} kills")

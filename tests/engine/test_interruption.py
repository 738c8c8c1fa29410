"""An `up` that is killed (SIGKILL) at any moment: the next one completes it, and no written data is lost.

The user must run: `pulumi cancel` (or `make up`, which does it), because the killed update still holds the lock; then
`up`. Pulumi warns of pending operations until `pulumi refresh --clear-pending-creates`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import pytest

from tests.engine import docker_engine
from tests.engine.conftest import STORES
from tests.engine.event_log import Step
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.stores import Stores
from tests.failures import FailureRecord


@dataclass(frozen=True)
class Moment:
    """The moment of the kill."""

    name: str
    description: str
    """Completes the sentence that begins with the killed command."""

    has_come: Callable[[PulumiStack, list[Step]], bool]


def begun(operation: str, kind: str, name: str) -> Moment:
    """The engine has called the provider."""
    step = Step("begun", operation, kind, name)
    description = f"during the step `{operation}` of the {kind} `{name}`"
    return Moment(str(step).replace(" ", "-"), description, lambda _, steps: step in steps)


def done(operation: str, kind: str, name: str) -> Moment:
    """The provider has responded, and the state contains the result."""
    step = Step("done", operation, kind, name)
    description = f"after the step `{operation}` of the {kind} `{name}`"
    return Moment(str(step).replace(" ", "-"), description, lambda _, steps: step in steps)


def starting(workload: str) -> Moment:
    """The container runs and isn't healthy yet: the provider waits for it, and it isn't in the state."""
    return Moment(
        f"{workload}-is-starting",
        f"while `{workload}` starts",
        lambda stack, _: docker_engine.workloads(stack.name).get(workload) == "starting",
    )


CREATION = [
    begun("create", "Network", "postgres"),
    begun("create", "Container", "databases-roles"),
    starting("kafka"),
    done("create", "Container", "databases"),
]
UPDATE = [
    begun("delete-replaced", "Container", "postgres"),
    starting("kafka"),
    done("create-replacement", "Container", "redis"),
]
OTHER_VALUES = cycle(
    [
        {"postgres": {"maxConnections": connections}, "redis": {"maxMemoryMib": memory}, "kafka": {"heapMib": heap}}
        for connections, memory, heap in [(140, 96, 288), (145, 112, 304)]
    ]
)


@pytest.mark.parametrize("moment", CREATION, ids=lambda moment: moment.name)
def test_the_next_up_completes_a_killed_creation(
    stores_stack: PulumiStack, moment: Moment, failure_record: FailureRecord
) -> None:
    """Containers, networks and state are gone, and volumes remain: everything is created again with the existing
    data."""
    title = f"The first `up` is killed {moment.description}"
    failure_record.begin(title, on="Docker", effect="the next `up` completes it")
    Stores(stores_stack.outputs()).write("before-the-kill")
    docker_engine.remove_containers_and_networks(stores_stack.name)
    stores_stack.lose_state()

    kill(stores_stack, moment, plugins_too=False)

    with failure_record.measure_recovery():
        repair(stores_stack)
    Stores(stores_stack.outputs()).check("before-the-kill")
    failure_record.set_lost("nothing: rows, keys and events still exist")


@pytest.mark.parametrize("moment", UPDATE, ids=lambda moment: moment.name)
def test_the_next_up_completes_a_killed_update(
    stores_stack: PulumiStack, moment: Moment, failure_record: FailureRecord
) -> None:
    title = f"An `up` that changes the stores is killed {moment.description}"
    failure_record.begin(title, on="Docker", effect="the next `up` completes it")
    Stores(stores_stack.outputs()).write("before-the-kill")
    values: dict[str, Any] = next(OTHER_VALUES)
    stores_stack.configure(values)

    kill(stores_stack, moment, plugins_too=True)
    assert "pulumi cancel" in stores_stack.up().failed().output

    with failure_record.measure_recovery():
        repair(stores_stack)
    stores = Stores(stores_stack.outputs())
    stores.check("before-the-kill")
    assert stores.setting("max_connections") == str(values["postgres"]["maxConnections"])
    failure_record.set_lost("nothing: rows, keys and events still exist")


def kill(stack: PulumiStack, moment: Moment, *, plugins_too: bool) -> None:
    """Kill an `up` at that moment. Its lock remains."""
    stack.kill_up_when(moment.name, lambda steps: moment.has_come(stack, steps), plugins_too=plugins_too)


def repair(stack: PulumiStack) -> None:
    """Run one ordinary `up`, after which the stack is as if it had never been killed."""
    stack.cancel()
    stack.up().succeeded()
    assert docker_engine.workloads(stack.name) == STORES
    stack.preview("--expect-no-changes").succeeded()

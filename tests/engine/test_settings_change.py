"""A change of any setting reaches the stores and keeps their data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.engine import docker_engine
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.stores import Stores
from tests.ports import free_port


@dataclass(frozen=True)
class Change:
    """Changed settings, and checks that the stack uses them."""

    settings: Mapping[str, Any]
    replaced: set[str]
    """The containers that the change replaces."""

    shown: Callable[[PulumiStack, Stores], object]
    """Returns the running stack's values, which must equal `expected`."""

    expected: object


PORT = free_port()
CHANGES = {
    "PostgreSQL's and Kafka's": Change(
        {"postgres": {"maxConnections": 145}, "kafka": {"port": PORT, "heapMib": 256}},
        {"postgres", "kafka", "kafka-configuration"},  # The log cleaner's buffer is a share of the heap.
        lambda stack, stores: (
            stores.setting("max_connections"),
            stack.outputs().kafka.bootstrap_servers,
            docker_engine.docker("exec", f"pti-kafka-{stack.name}", "printenv", "KAFKA_HEAP_OPTS"),
        ),
        ("145", f"127.0.0.1:{PORT}", "-Xms128m -Xmx256m\n"),
    ),
    "Redis' and the protection": Change(
        {"redis": {"maxMemoryMib": 64}, "protect": True},
        {"redis", "redis-configuration"},
        lambda stack, stores: (
            f"\nmaxmemory:{64 * 2**20}\r" in str(stores.redis("INFO", "memory")),
            {one["urn"].rpartition("::")[2] for one in stack.export()["deployment"]["resources"] if one.get("protect")}
            >= {"postgres-data", "redis-data", "kafka-kraft-data", "postgresPassword"},
        ),
        (True, True),
    ),
}


@pytest.fixture
def stack(stores_stack: PulumiStack) -> Iterator[PulumiStack]:
    """A running stack, whose volumes the next test may remove."""
    yield stores_stack
    stores_stack.configure({"protect": False})


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_settings_are_applied_and_the_data_stays(stack: PulumiStack, change: Change) -> None:
    Stores(stack.outputs()).write("before-the-change")

    stack.configure(change.settings)
    outcome = stack.up().succeeded()

    stores = Stores(stack.outputs())
    assert outcome.replaced == change.replaced
    assert change.shown(stack, stores) == change.expected
    assert not [one for one in outcome.changes if " Volume " in one]
    stores.check("before-the-change")
    stack.preview("--expect-no-changes").succeeded()

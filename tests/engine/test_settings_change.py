"""A change of any setting reaches the stores and keeps their data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.engine import docker_engine
from tests.engine.configurations import free_ports
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.stores import Stores


@dataclass(frozen=True)
class Change:
    """A setting, and a check that the stack uses it."""

    key: str
    value: Any
    replaced: tuple[str, ...]
    """The containers it replaces."""

    shown: Callable[[PulumiStack, Stores], object]
    """Returns the running stack's value, which must equal `expected`."""

    expected: object


PORT = free_ports(1)[0]
CHANGES = [
    Change(
        "postgres",
        {"maxConnections": 145},
        ("postgres",),
        lambda _, stores: stores.setting("max_connections"),
        "145",
    ),
    Change(
        "kafka",
        {"port": PORT},
        ("kafka", "kafka-configuration"),
        lambda stack, _: stack.outputs().kafka.bootstrap_servers,
        f"127.0.0.1:{PORT}",
    ),
    Change(
        "redis",
        {"maxMemoryMib": 64},
        ("redis", "redis-configuration"),
        lambda _, stores: f"\nmaxmemory:{64 * 2**20}\r" in str(stores.redis("INFO", "memory")),
        True,
    ),
    Change(
        "kafka",
        {"heapMib": 256},
        ("kafka", "kafka-configuration"),  # The log cleaner's buffer is a share of the heap.
        lambda stack, _: docker_engine.docker("exec", f"pti-kafka-{stack.name}", "printenv", "KAFKA_HEAP_OPTS"),
        "-Xms128m -Xmx256m\n",
    ),
    Change(
        "protect",
        True,
        (),
        lambda stack, _: (
            {one["urn"].rpartition("::")[2] for one in stack.export()["deployment"]["resources"] if one.get("protect")}
            >= {"postgres-data", "redis-data", "kafka-kraft-data", "postgresPassword"}
        ),
        True,
    ),
]


@pytest.fixture
def stack(stores_stack: PulumiStack) -> Iterator[PulumiStack]:
    """A running stack, whose volumes the next test may remove."""
    yield stores_stack
    stores_stack.configure({"protect": False})


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change.key}-{change.value}")
def test_a_changed_setting_is_applied_and_the_data_stays(stack: PulumiStack, change: Change) -> None:
    Stores(stack.outputs()).write("before-the-change")

    stack.configure({change.key: change.value})
    outcome = stack.up().succeeded()

    stores = Stores(stack.outputs())
    assert outcome.replaced == set(change.replaced)
    assert change.shown(stack, stores) == change.expected
    assert not [one for one in outcome.changes if " Volume " in one]
    stores.check("before-the-change")
    stack.preview("--expect-no-changes").succeeded()

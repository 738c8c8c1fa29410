"""Stacks on the real Docker engine with the real `pulumi` command; skipped if the machine lacks a prerequisite."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from settings.stores.kafka import KafkaSettings
from testbed import ext4
from tests.engine import configurations, docker_engine
from tests.engine.kafka_brokers import Brokers, volume
from tests.engine.machine import lacking
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.restarts import pytest_runtest_teardown as pytest_runtest_teardown

MakeStack = Callable[..., PulumiStack]
MakeVolume = Callable[[int], Path]
MakeBrokers = Callable[[KafkaSettings], Brokers]
STORES = {"postgres": "healthy", "databases": "healthy", "redis": "healthy", "kafka": "healthy"}


@pytest.fixture(scope="session", autouse=True)
def _machine() -> None:
    if reason := lacking():
        pytest.skip(reason)


@pytest.fixture
def make_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeStack]:
    """Return a function that makes stacks with the arguments of `PulumiStack` except its home, and removes them after
    the test."""
    with _maker(tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="module")
def make_shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeStack]:
    """Return the same function for stacks that the tests of a module share."""
    with _maker(tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def _stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulumiStack]:
    with _maker(tmp_path_factory) as make:
        yield make(configuration=configurations.kraft())


@pytest.fixture
def stores_stack(_stores: PulumiStack) -> PulumiStack:
    """A running stack of the stores, with Kafka without ZooKeeper and generated credentials. Tests may change and break
    it; it is repaired for the next test."""
    if docker_engine.workloads(_stores.name) != STORES:
        _stores.cancel()
        _stores.up().succeeded()
    return _stores


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the modules that use `stores_stack` last: the health checks of an idle stack take CPU time from other
    tests."""
    using_it = {item.path for item in items if "stores_stack" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path in using_it)


@contextmanager
def _maker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeStack]:
    with ExitStack() as made:

        def make(**arguments: Any) -> PulumiStack:
            stack = PulumiStack(tmp_path_factory.mktemp("stack"), **arguments)
            made.callback(stack.remove)
            return stack

        yield make


@pytest.fixture
def make_volume(tmp_path: Path) -> Iterator[MakeVolume]:
    """Return a function that creates ext4 file systems of a size in MiB, writable by a broker, for the duration of the
    test."""
    if reason := ext4.why_unavailable():
        pytest.skip(reason)
    number = itertools.count()
    with ExitStack() as mounted:
        yield lambda size_mib: mounted.enter_context(volume(tmp_path / f"volume-{next(number)}", size_mib))


@pytest.fixture
def make_brokers(tmp_path: Path, make_volume: MakeVolume) -> Iterator[MakeBrokers]:
    """Return a function that creates the brokers of one test. They are removed before its volumes."""
    del make_volume
    with ExitStack() as running:

        def make(settings: KafkaSettings) -> Brokers:
            made = Brokers(f"pti-test-kafka-{secrets.token_hex(3)}", tmp_path / "files", settings)
            running.callback(made.close)
            return made

        yield make

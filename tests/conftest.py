"""Fixtures for the tests of every suite."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator

import pytest

from tests.failures import FailureRecord

PASSED = pytest.StashKey[bool]()


def pytest_configure() -> None:
    """Collect garbage less often.

    A run of the program allocates objects faster than they become garbage, and the recordings of former runs are kept:
    with Python's default of 700 allocations, half of the suite's CPU time was spent on traversing them.
    """
    gc.set_threshold(100_000, 20, 100)


def pytest_unconfigure() -> None:
    """Exempt everything from the garbage collections of pytest and of the interpreter when the process ends: they
    take 3 s of each worker's CPU time."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record whether the test itself passed, before its fixtures are torn down."""
    report = yield
    if call.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.fixture
def failure_record(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Iterator[FailureRecord]:
    """Record the failure that the test causes and its effects, for `docs/reliability.md`."""
    test = f"{request.path.relative_to(request.config.rootpath)}::{request.node.originalname}"
    found = FailureRecord(test, record_property)
    yield found
    if request.node.stash.get(PASSED, False):
        found.end()

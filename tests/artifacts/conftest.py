"""PostgreSQL servers of the newest major version on this machine; with `PTI_TESTS=all`, one per major version."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from settings.catalog import SERVICES
from tests.artifacts.full_run import IS_FULL_RUN
from tests.artifacts.postgres_server import (
    Installation,
    Server,
    installations,
    runnable,
    running_server,
)
from tests.artifacts.provisioning_task import Outcome, Task, task_for

INSTALLATIONS: list[Installation | None] = [*installations()[0 if IS_FULL_RUN else -1 :]]
IMAGE_INSTALLATIONS: list[Installation | None] = [one for one in INSTALLATIONS if one and one.major >= 17]
"""Major versions that `postgres.image` supports."""

DATABASE_NUMBER = itertools.count(1)


def _ids(found: Installation | None) -> str:
    return f"postgres-{found.major}" if found else "no-postgres"


@pytest.fixture(scope="session", params=INSTALLATIONS or [None], ids=_ids)
def installation(request: pytest.FixtureRequest) -> Installation:
    """A PostgreSQL installation on this machine that every user can run."""
    return _runnable(request.param)


@pytest.fixture(scope="session", params=IMAGE_INSTALLATIONS or [None], ids=_ids)
def image_installation(request: pytest.FixtureRequest) -> Installation:
    """A PostgreSQL installation with a major version that the platform's image supports."""
    return _runnable(request.param)


def _runnable(found: Installation | None) -> Installation:
    if found is None:
        pytest.skip("PostgreSQL is missing (Linux only): python -m tests.artifacts.postgres_server fetch")
    return runnable(found)


@pytest.fixture(scope="session")
def server(installation: Installation) -> Iterator[Server]:
    """A running server, shared by the session."""
    with running_server(installation) as server:
        yield server


@pytest.fixture(scope="session")
def platform(server: Server) -> Iterator[Task]:
    """The seven services' databases, provisioned."""
    with task_for(server, *(service.database for service in SERVICES)) as task:
        outcome = task.run()
        assert outcome.status == 0, outcome.errors
        yield task


@pytest.fixture
def database() -> str:
    """The name of a database that doesn't exist yet."""
    return f"fresh_{next(DATABASE_NUMBER)}"


@pytest.fixture
def task(server: Server, database: str) -> Iterator[Task]:
    """The task for one new database, not run yet."""
    with task_for(server, database) as task:
        yield task


@pytest.fixture
def provisioned(task: Task) -> Outcome:
    """The outcome of the task's first run."""
    outcome = task.run()
    assert outcome.status == 0, outcome.errors
    return outcome

"""PostgreSQL servers, one per version that the tests use."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from settings.catalog import SERVICES
from tests.artifacts.postgres_server import Installation, Server, runnable, running_server
from tests.artifacts.provisioning_task import Outcome, Task, task_for
from tests.artifacts.versions import IMAGE_VERSIONS, SERVER_VERSIONS, SLOW_SERVER_VERSIONS, version_name

DATABASE_NUMBER = itertools.count(1)


@pytest.fixture(scope="session", params=SERVER_VERSIONS, ids=version_name)
def installation(request: pytest.FixtureRequest) -> Installation:
    """A PostgreSQL installation on this machine that every user can run."""
    return _runnable(request.param)


@pytest.fixture(scope="session", params=SLOW_SERVER_VERSIONS, ids=version_name)
def slow_installation(request: pytest.FixtureRequest) -> Installation:
    """The installation for slow tests: except in long runs, only the newest."""
    return _runnable(request.param)


@pytest.fixture(scope="session", params=IMAGE_VERSIONS, ids=version_name)
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

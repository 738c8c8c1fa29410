"""An update of a small stack that is interrupted twice."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clone import Clone
from tests.e2e.person import SMALL_WORKLOADS, Person
from tests.engine import docker_engine
from tests.engine.waiting import until
from tests.failures import Tried


@pytest.fixture
def person(installed: Clone, tmp_path: Path) -> Iterator[Person]:
    """A person with a state of their own; their stack is removed at the end."""
    made = Person(installed, state(tmp_path / "state"))
    try:
        yield made
    finally:
        docker_engine.remove_everything(made.stack)


def test_the_next_update_clears_the_operations_of_an_interrupted_one(person: Person, tried: Tried) -> None:
    """The task that creates the databases hangs, and its creation with it, because the server is paused."""
    tried.failure(
        "Ctrl-C twice while the first `up` creates a container", on="Docker", notice="the next `up` completes it"
    )
    with person.clone.started(*person.operation("up"), environment=person.environment) as up:
        until("the task starts", lambda: docker_engine.workloads(person.stack).get("databases") == "starting")
        docker_engine.docker("pause", container(person, "postgres"))
        up.send(signal.SIGINT)
        until("the first Ctrl-C is shown", lambda: "^C received" in up.output)
        up.send(signal.SIGINT)
        until("the update has ended", lambda: up.process.poll() is not None)
    docker_engine.docker("unpause", container(person, "postgres"))
    assert "databases" in pending(person)

    with tried.until_well():
        person.operates("up").succeeded()

    assert docker_engine.workloads(person.stack) == dict.fromkeys(SMALL_WORKLOADS, "healthy")
    assert pending(person) == []
    person.types(f"pulumi preview --stack {person.stack} --expect-no-changes").succeeded()
    tried.lost("nothing: no data existed")


def state(folder: Path) -> dict[str, str]:
    """Return the variable that names a new state."""
    folder.mkdir()
    return {"PULUMI_BACKEND_URL": f"file://{folder}"}


def container(person: Person, workload: str) -> str:
    """Return the name of a workload's container."""
    return f"pti-{workload}-{person.stack}"


def pending(person: Person) -> list[str]:
    """Return the names of the resources whose operation is pending."""
    exported = json.loads(person.types(f"pulumi stack export --stack {person.stack}").succeeded().output)
    found = exported["deployment"].get("pending_operations") or []
    return [str(one["resource"]["urn"]).rpartition("::")[2] for one in found]

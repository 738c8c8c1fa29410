"""Operations on a small stack: an update that is interrupted twice, a destroy that others' containers prevent."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from settings.stores.redis import RedisSettings
from tests.e2e.clone import Clone
from tests.e2e.person import SMALL_WORKLOADS, Person
from tests.engine import docker_engine
from tests.engine.docker_engine import docker
from tests.engine.stores import Stores
from tests.engine.waiting import until
from tests.failures import FailureRecord

WRITTEN = ([("a row",)], "a key")
"""The rows and the key that `write` writes."""


@pytest.fixture
def person(installed: Clone, tmp_path: Path) -> Iterator[Person]:
    """A person with a state of their own; their stack is removed at the end."""
    made = Person(installed, state(tmp_path / "state"))
    try:
        yield made
    finally:
        docker_engine.remove_everything(made.stack)


@pytest.fixture
def running(person: Person) -> Person:
    """A person whose stack is up and contains data."""
    person.operates("up").succeeded()
    write(person)
    return person


@pytest.fixture
def foreign_container(running: Person) -> Iterator[str]:
    """A container that belongs to no stack, in the network of the person's PostgreSQL."""
    name = f"foreign-{running.stack}"
    docker("run", "--detach", "--name", name, "--entrypoint", "sleep", RedisSettings().image, "infinity")
    try:
        docker("network", "connect", container(running, "postgres"), name)
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


def test_the_next_update_clears_the_operations_of_an_interrupted_one(
    person: Person, failure_record: FailureRecord
) -> None:
    """The task that creates the databases hangs, and its creation with it, because the server is paused."""
    failure_record.begin(
        "Ctrl-C twice while the first `up` creates a container", on="Docker", effect="the next `up` completes it"
    )
    with person.clone.started(*person.operation("up"), environment=person.environment) as up:
        until("the task starts", lambda: docker_engine.workloads(person.stack).get("databases") == "starting")
        docker("pause", container(person, "postgres"))
        up.send(signal.SIGINT)
        until("the first Ctrl-C is shown", lambda: "^C received" in up.output)
        up.send(signal.SIGINT)
        until("the update has ended", lambda: up.process.poll() is not None)
    docker("unpause", container(person, "postgres"))
    assert "databases" in pending(person)

    with failure_record.measure_recovery():
        person.operates("up").succeeded()

    assert docker_engine.workloads(person.stack) == dict.fromkeys(SMALL_WORKLOADS, "healthy")
    assert pending(person) == []
    person.types(f"pulumi preview --stack {person.stack} --expect-no-changes").succeeded()
    failure_record.set_lost("nothing: no data existed")


def test_a_destroy_names_a_foreign_container_and_changes_nothing(running: Person, foreign_container: str) -> None:
    before, volumes = started(running), docker_engine.persistent_volumes(running.stack)
    network = container(running, "postgres")

    refused = running.operates("destroy", typed=f"{running.stack}\n").failed()

    command = f"docker network disconnect --force {network} {foreign_container}"
    assert f"container '{foreign_container}' is in network '{network}': {command}" in refused.output
    assert refused.output.endswith("Nothing has been changed.\n")
    assert started(running) == before
    assert data(running) == WRITTEN

    running.types(command).succeeded()
    running.operates("destroy", typed=f"{running.stack}\n").succeeded()
    assert docker_engine.containers(running.stack) == docker_engine.networks(running.stack) == []
    assert docker_engine.persistent_volumes(running.stack) == volumes
    assert docker("inspect", "--format", "{{.State.Running}}", foreign_container) == "true\n"


def state(folder: Path) -> dict[str, str]:
    """Return the variable that names a new state."""
    folder.mkdir()
    return {"PULUMI_BACKEND_URL": f"file://{folder}"}


def container(person: Person, workload: str) -> str:
    """Return the name of a workload's container, which is also the name of its network."""
    return f"pti-{workload}-{person.stack}"


def started(person: Person) -> dict[str, str]:
    """Map each container of the stack to its start time."""
    return {one["Id"]: one["State"]["StartedAt"] for one in docker_engine.containers(person.stack)}


def write(person: Person) -> None:
    """Write a new table to PostgreSQL, and a key to Redis."""
    stores = Stores(person.outputs())
    with stores.connect() as session:
        session.execute("CREATE TABLE kept AS SELECT 'a row' AS mark")
    assert stores.redis("SET", "kept", "a key") == "OK"


def data(person: Person) -> tuple[list[tuple[str]], str | None]:
    """Return the table's rows, and the key's value."""
    stores = Stores(person.outputs())
    with stores.connect() as session:
        return session.execute("SELECT mark FROM kept").fetchall(), stores.redis("GET", "kept")


def pending(person: Person) -> list[str]:
    """Return the names of the resources whose operation is pending."""
    exported = json.loads(person.types(f"pulumi stack export --stack {person.stack}").succeeded().output)
    found = exported["deployment"].get("pending_operations") or []
    return [str(one["resource"]["urn"]).rpartition("::")[2] for one in found]

"""Operations on a small stack: an update that is interrupted twice, a destroy that others' containers prevent, another
checkout that takes the stack over, a second stack beside it."""

from __future__ import annotations

import getpass
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

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
def second_person(running: Person, tmp_path: Path) -> Person:
    """A person with another checkout and another state, whose stack has the same name and configuration."""
    clone = Clone(tmp_path / "second", sibling=running.clone)
    (clone.root / ".venv").symlink_to(running.clone.root / ".venv")
    name = f"Pulumi.{running.stack}.yaml"
    config = yaml.safe_load((running.clone.root / name).read_text())["config"]
    (clone.root / name).write_text(yaml.safe_dump({"config": config}))
    return Person(clone, state(tmp_path / "second-state"), stack=running.stack)


@pytest.fixture
def beside(running: Person) -> Iterator[Person]:
    """The same person with a second stack's name, which has no configuration yet."""
    made = Person(running.clone, running.environment, stack=f"{running.stack}b")
    try:
        yield made
    finally:
        docker_engine.remove_everything(made.stack)


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


def test_another_checkout_takes_over_the_stack_with_its_data(running: Person, second_person: Person) -> None:
    stack, before = running.stack, started(running)
    volumes = docker_engine.persistent_volumes(stack)

    refused = second_person.operates("up").failed()
    assert created_by(running) in refused.output
    assert f"make take-over STACK={stack}" in refused.output
    assert started(running) == before

    taken = second_person.operates("take-over", typed=f"{stack}\n").succeeded()
    assert created_by(running) in taken.output
    assert docker_engine.containers(stack) == docker_engine.networks(stack) == []

    second_person.operates("up").succeeded()
    assert docker_engine.workloads(stack) == dict.fromkeys(SMALL_WORKLOADS, "healthy")
    assert docker_engine.persistent_volumes(stack) == volumes
    assert data(second_person) == WRITTEN

    after = started(second_person)
    assert created_by(second_person) in running.operates("up").failed().output
    assert started(second_person) == after


def test_a_second_stack_beside_the_first_has_its_own_ports_and_data(running: Person, beside: Person) -> None:
    before, networks = started(running), docker_engine.networks(running.stack)

    beside.operates("beside", "--like", running.stack).succeeded()
    beside.operates("up").succeeded()
    write(beside)

    for one in (running, beside):
        assert docker_engine.workloads(one.stack) == dict.fromkeys(SMALL_WORKLOADS, "healthy")
    first, second = ports(running), ports(beside)
    assert first.keys() == second.keys() == {"postgres", "redis"}
    assert not {*first.values()} & {*second.values()}

    volumes = docker_engine.persistent_volumes(beside.stack)
    beside.operates("destroy", typed=f"{beside.stack}\n").succeeded()
    assert docker_engine.containers(beside.stack) == docker_engine.networks(beside.stack) == []
    assert docker_engine.persistent_volumes(beside.stack) == volumes
    assert started(running) == before
    assert docker_engine.networks(running.stack) == networks
    assert data(running) == WRITTEN


def state(folder: Path) -> dict[str, str]:
    """Return the variable that names a new state."""
    folder.mkdir()
    return {"PULUMI_BACKEND_URL": f"file://{folder}"}


def container(person: Person, workload: str) -> str:
    """Return the name of a workload's container, which is also the name of its network."""
    return f"pti-{workload}-{person.stack}"


def created_by(person: Person) -> str:
    """Return what messages call the creator of the person's containers, up to the folder."""
    return f"created by {getpass.getuser()}@{socket.gethostname()}:{person.clone.root}"


def ports(person: Person) -> dict[str, str]:
    """Map workloads to their host port."""
    return {
        one["Config"]["Labels"][docker_engine.WORKLOAD_LABEL]: binding["HostPort"]
        for one in docker_engine.containers(person.stack)
        for bindings in one["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }


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

"""An update with refresh recreates what was stopped, removed or pruned by hand, and never starts with empty data."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.engine import docker_engine
from tests.engine.conftest import MakeStack
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.small_programs import WORKLOADS

HEALTHY = dict.fromkeys(("store", "keeper", "preparation", "reader"), "healthy")
DATA_FILE = "/data/kept"
FILE_COPY_CONTAINER = "reader-words"


@pytest.fixture(scope="module")
def shared(make_shared_stack: MakeStack) -> PulumiStack:
    """A store, a workload with data, a task, and a service without a published port that reads a file."""
    made = make_shared_stack(program=WORKLOADS, configuration={"scenario": "of each kind"})
    made.up().succeeded()
    docker("exec", container(made, "keeper"), "sh", "-c", f"echo before > {DATA_FILE}")
    return made


@pytest.fixture
def stack(shared: PulumiStack) -> Iterator[PulumiStack]:
    """The stack, which each test leaves healthy."""
    yield shared
    assert docker("exec", container(shared, "keeper"), "cat", DATA_FILE) == "before\n"


def container(stack: PulumiStack, workload: str) -> str:
    """Return the name of a workload's container."""
    return f"pti-{workload}-{stack.name}"


def stop_all(stack: PulumiStack) -> None:
    """Stop this stack's containers, as `docker stop $(docker ps -q)` does."""
    running = docker("ps", "--quiet", "--filter", _label(stack)).split()
    docker("stop", "--time", "1", *running)


def prune(stack: PulumiStack) -> None:
    """Prune this stack's stopped containers and unused networks, as `docker system prune -f` does."""
    for kind in ("container", "network"):
        docker(kind, "prune", "--force", "--filter", _label(stack))


def stop_and_prune_all(stack: PulumiStack) -> None:
    stop_all(stack)
    prune(stack)


def prune_beside_what_runs(stack: PulumiStack) -> None:
    """Prune while the stack runs: this removes the containers that copy files, because they never run."""
    prune(stack)
    assert container(stack, FILE_COPY_CONTAINER) not in _names(stack)


def remove(stack: PulumiStack) -> None:
    """Remove a store, and a service with its volume of files."""
    docker("rm", "--force", *(container(stack, name) for name in ("store", "reader", FILE_COPY_CONTAINER)))
    (volume,) = (one["Name"] for one in docker_engine.volumes(stack.name) if FILE_COPY_CONTAINER in one["Name"])
    docker("volume", "rm", volume)


# `tests/e2e/test_dev_stack.py` stops and prunes everything.
DAMAGES = (stop_all, remove, prune_beside_what_runs)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_manual_damage_is_repaired(stack: PulumiStack, damage: Callable[[PulumiStack], None]) -> None:
    damage(stack)

    repaired = stack.up("--refresh").succeeded()

    assert repaired.changes
    # The task has completed, and runs again only if it was removed.
    assert docker_engine.workloads(stack.name) | {"preparation": "healthy"} == HEALTHY
    assert container(stack, FILE_COPY_CONTAINER) in _names(stack)
    stack.preview("--refresh", "--expect-no-changes").succeeded()


def test_a_stopped_task_is_not_a_difference(stack: PulumiStack) -> None:
    """After its own restart, the engine starts services again, by their restart policy, but no tasks."""
    docker("stop", "--time", "1", container(stack, "preparation"))

    stack.preview("--refresh", "--expect-no-changes").succeeded()

    assert stack.up("--refresh").succeeded().changes == []
    assert docker("inspect", "--format", "{{.State.Running}}", container(stack, "preparation")) == "false\n"


def test_an_update_with_refresh_refuses_a_missing_volume(stack: PulumiStack) -> None:
    """This is the state after `docker system prune --volumes`, without a configuration change."""
    volume = f"pti-keeper-data-{stack.name}"
    stop_and_prune_all(stack)
    docker("volume", "rm", volume)

    for refused in (stack.preview("--refresh").failed(), stack.up("--refresh").failed()):
        assert f"The volume '{volume}' with this stack's data is missing." in refused.output
        assert docker_engine.persistent_volumes(stack.name) == set()

    # The volume is restored, for example from a backup.
    docker("volume", "create", "--label", f"{docker_engine.STACK_LABEL}={stack.name}", volume)
    stack.up("--refresh").succeeded()
    docker("exec", container(stack, "keeper"), "sh", "-c", f"echo before > {DATA_FILE}")
    stack.preview("--refresh", "--expect-no-changes").succeeded()


def _label(stack: PulumiStack) -> str:
    return f"label={docker_engine.STACK_LABEL}={stack.name}"


def _names(stack: PulumiStack) -> set[str]:
    return {one["Name"].removeprefix("/") for one in docker_engine.containers(stack.name)}

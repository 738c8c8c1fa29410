"""Pulumi's own commands in a fresh clone, without `make` and `activate`, on the real engine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clone import Clone
from tests.e2e.person import SMALL_WORKLOADS, Person
from tests.engine import docker_engine


@pytest.fixture(params=["variable", "login"])
def person(request: pytest.FixtureRequest, installed: Clone, tmp_path: Path) -> Iterator[Person]:
    """A person whose state is in a folder that a variable or a login names; their stack is removed at the end."""
    backend = f"file://{tmp_path}"
    made = Person(installed, {"PULUMI_BACKEND_URL": backend} if request.param == "variable" else {})
    if request.param == "login":
        made.types(f"pulumi login {backend}").succeeded()
    try:
        yield made
    finally:
        docker_engine.remove_everything(made.stack)


def test_the_commands_of_pulumis_documentation_work(person: Person) -> None:
    person.types(f"pulumi stack init {person.stack}").succeeded()
    person.types("pulumi preview").succeeded()
    assert docker_engine.containers(person.stack) == []

    created = person.types("pulumi up --yes").succeeded()
    print(f"pulumi up: {created.seconds:.0f} s")
    assert docker_engine.workloads(person.stack) == dict.fromkeys(SMALL_WORKLOADS, "healthy")
    person.types("pulumi preview --expect-no-changes").succeeded()

    kept = docker_engine.persistent_volumes(person.stack)
    person.types("pulumi destroy --yes").succeeded()
    assert docker_engine.containers(person.stack) == []
    assert docker_engine.persistent_volumes(person.stack) == kept


def test_the_stack_is_selected_or_created_by_one_command(person: Person) -> None:
    missing = person.types(f"pulumi stack select {person.stack}").failed()
    assert f"no stack named '{person.stack}' found" in missing.output
    for _ in range(2):
        person.types(f"pulumi stack select --create {person.stack}").succeeded()
        assert person.types("pulumi stack --show-name").succeeded().output.split() == [person.stack]


def test_a_virtual_environment_without_its_python_is_reported(tmp_path: Path) -> None:
    """`python -m venv` keeps the links of an existing environment, so `pulumi install` can't repair it
    (docs/runbook.md)."""
    clone = Clone(tmp_path)
    environment = clone.root / ".venv"
    clone.run(sys.executable, "-m", "venv", "--without-pip", str(environment)).succeeded()
    for link in (environment / "bin").glob("python*"):
        link.unlink()
        link.symlink_to(tmp_path / "removed")

    refused = clone.run("pulumi", "install").failed()

    assert f"No such file or directory: '{environment}/bin/python" in refused.output

"""A service that runs in an editor, reached through the stack's gateway."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations import environment_file
from settings.catalog import SERVICES
from tests.artifacts import reference_environment
from tests.e2e import full_stack
from tests.e2e.full_stack import FullStack, timed
from tests.e2e.platform import Platform
from tests.engine import docker_engine
from tests.engine.waiting import DEADLINE_S

(SERVICE,) = (service for service in SERVICES if service.name == "rdv")


class LocalService:
    """The reference service as a process on this machine, with only the environment from `make env SERVICE=rdv`."""

    def __init__(self, variables: Path, migrator_password: str) -> None:
        self.log = variables.with_name("log")
        self._variables = variables
        self._migrator_password = migrator_password

    def migrate(self) -> None:
        """Run the migrations first, as the migrator role, like a developer."""
        run = f'DATABASE_USER={SERVICE.database}_migrator DATABASE_PASSWORD="$MIGRATOR_PASSWORD" exec "$PYTHON"'
        migration = self._start(f"{run} -m reference_service.migrate", MIGRATOR_PASSWORD=self._migrator_password)
        assert migration.wait(DEADLINE_S) == 0, self.log.read_text()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the service."""
        return self._start('exec "$PYTHON" -m reference_service')

    def _start(self, line: str, **environment: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as sink:
            return subprocess.Popen(
                ["sh", "-euc", f"set -a; . '{self._variables}'; set +a; {line}"],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHON": str(reference_environment.python()),
                    "PYTHONPATH": str(reference_environment.EXAMPLES),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullStack]:
    """A stack with stores and a gateway, whose only service runs elsewhere."""
    described = full_stack.configuration({"deploy": [SERVICE.name], "local": [SERVICE.name], "overrides": {}})
    with full_stack.full_stack(tmp_path_factory.mktemp("local"), described) as made:
        with timed("up without the service"):
            made.up().succeeded()
        yield made


@pytest.fixture(scope="module")
def local_service(stack: FullStack, tmp_path_factory: pytest.TempPathFactory) -> LocalService:
    """The service, with its database migrated, not running."""
    outputs = stack.outputs()
    with pytest.MonkeyPatch.context() as patch:
        # Stored outside the checkout, so that an existing file isn't overwritten.
        patch.setattr(environment_file, "ROOT", tmp_path_factory.mktemp("editor"))
        variables = environment_file.write(SERVICE.name, outputs)
    try:
        made = LocalService(variables, outputs.credentials.postgres[f"{SERVICE.database}_migrator"])
        made.migrate()
    except reference_environment.EnvironmentMissing as missing:
        pytest.skip(f"the reference service's requirements can't be installed: {missing}")
    return made


@pytest.fixture(scope="module")
def platform(stack: FullStack) -> Platform:
    """Return the platform behind the gateway. There are no front ends and no service with a public path."""
    return stack.platform()


def test_the_gateway_returns_an_error_until_the_local_service_runs(platform: Platform) -> None:
    answer = platform.call("GET", f"/api/{SERVICE.name}/public/info", platform.token())
    assert answer.status in (502, 503)


def test_the_journey_passes_through_the_gateway_to_the_process(platform: Platform, local_service: LocalService) -> None:
    tenant = uuid.uuid4()
    process = local_service.start()
    try:
        # The service responds before it is connected to Kafka, so wait until it has received an event.
        print(f"recovered after {platform.seconds_until_recovered():.1f} s")
        platform.journey()
        correlation = str(uuid.uuid4())
        sent = {"X-Correlation-ID": correlation}
        assert platform.call("GET", "/api/rdv/appointments", platform.token(tenant), headers=sent).status == 200
        lines = [json.loads(line) for line in local_service.log.read_text().splitlines()]
        assert [line["route"] for line in lines if line.get("correlation_id") == correlation] == ["/appointments"]
    finally:
        process.terminate()
        ended = process.wait(DEADLINE_S)
    assert ended == 0
    answer = platform.call("GET", f"/api/{SERVICE.name}/public/info", platform.token())
    assert answer.status in (502, 503)


def test_the_stack_does_not_run_the_local_service(stack: FullStack) -> None:
    stack.preview("--expect-no-changes").succeeded()
    labels = {one["Config"]["Labels"][docker_engine.WORKLOAD_LABEL] for one in docker_engine.containers(stack.name)}
    assert labels == {"postgres", "databases", "redis", "zookeeper", "kafka", "kong", "nginx"}

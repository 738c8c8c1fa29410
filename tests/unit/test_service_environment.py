"""One definition of a service's environment, and everything derived from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from contract import StackOutputs
from contract.environment import LOG_LEVEL, is_reserved, plain_variables, secret_variables
from examples.reference_service import settings as reference
from operations import environment_file
from settings.catalog import SERVICES
from settings.credentials import third_party
from tests.unit.platform_recording import RecordPlatform
from tests.unit.test_microservice import MANAGED, MANAGED_SECRETS

PLAIN = {one.name for one in plain_variables()}
SECRET = {one.name for one in secret_variables()}
ADDRESSES = {"DATABASE_URL", "MIGRATION_DATABASE_URL", "REDIS_URL"}
"""Variables that only `make env` writes, for command-line tools."""

PLATFORM_SELECTOR = {"VERSION", "FAULT_INJECTION"}
"""Variables that the reference service reads and the platform doesn't set."""


class RecordingMapping(Mapping[str, str]):
    """An environment that records which variables were read."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.read.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@pytest.fixture
def editor_environment(record_platform: RecordPlatform) -> dict[str, str]:
    """Return the variables of `make env` with every optional one: external stores with TLS and passwords."""
    return environment_file.variables("user", StackOutputs.parse(record_platform(MANAGED, MANAGED_SECRETS).outputs))


def test_the_reference_service_reads_every_variable_and_no_other(editor_environment: dict[str, str]) -> None:
    environment = RecordingMapping(editor_environment)
    reference.load(environment)
    assert {name.removesuffix("_FILE") for name in environment.read} - PLATFORM_SELECTOR == PLAIN | SECRET


def test_the_reference_service_reads_the_secrets_of_its_providers() -> None:
    own = {one.name: tuple(third_party(secret).variable for secret in one.secrets) for one in SERVICES if one.secrets}
    assert own == reference.SECRETS_OF_SERVICE


def test_a_service_from_an_editor_has_the_variables_of_a_deployed_one(
    record_platform: RecordPlatform, editor_environment: dict[str, str]
) -> None:
    deployed = record_platform(MANAGED, MANAGED_SECRETS).workloads["user"].environment
    assert {name.removesuffix("_FILE") for name in deployed} == PLAIN | SECRET
    assert editor_environment.keys() - ADDRESSES == (PLAIN | SECRET) - {LOG_LEVEL.name}


@pytest.mark.parametrize("name", sorted(PLAIN | SECRET | {f"{one}_FILE" for one in SECRET}))
def test_the_log_level_is_the_only_platform_variable_that_a_stack_may_set(name: str) -> None:
    assert is_reserved(name) == (name != LOG_LEVEL.name)

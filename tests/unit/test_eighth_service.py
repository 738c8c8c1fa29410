"""An additional service on both backends: what an engineer edits, and what the program derives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.full_run import only_in_full_runs
from tests.unit.edited_copy import changed_files, edited_copy, run_program

EDITS = {"settings/catalog.py": {'    ServiceSpec("audit", 4006),\n': '    ServiceSpec("billing", 4007),\n'}}
"""Maps each file to the inserted text and the line that it precedes."""

PROGRAM = """
import json, sys
from contract import StackOutputs
from operations import environment_file
from operations.documents.configuration import configuration_page
from settings import Settings, SettingsError, parse
from settings.credentials import CREDENTIALS
from tests.unit.platform_recording import CLUSTER, record_platform_once
from tests.unit.conftest import deploy_platform

GATEWAY = {
    "services": {"deploy": ["billing"]}, "gateway": {"enabled": True}, "postgres": {"maxConnections": 160},
}
try:
    parse({}, with_secrets=False)
except SettingsError as error:
    refused = str(error)
platform = record_platform_once(GATEWAY)
json.dump({
    "docker": [str(one) for one in deploy_platform(GATEWAY).registrations],
    "kubernetes": [str(one) for one in deploy_platform({**GATEWAY, **CLUSTER}).registrations],
    "environment": dict(platform.workloads["billing"].environment),
    "routes": platform.files["kong/configuration"]["kong.json"],
    "provisioned": [name for path, files in platform.files.items() if path.startswith("databases/") for name in files],
    "refused": refused,
    "overrides": [*Settings().services.overrides.model_dump()],
    "editor": environment_file.variables("billing", StackOutputs.parse(platform.outputs)),
    "credentials": [one.key for one in CREDENTIALS],
    "configuration": configuration_page(),
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the additional service."""
    return edited_copy(tmp_path_factory.mktemp("project"), EDITS)


@pytest.fixture(scope="module")
def program_output(project: Path) -> dict[str, Any]:
    """What the program does with the additional service."""
    return run_program(project, PROGRAM)


def test_a_service_is_one_line_in_the_catalog(project: Path) -> None:
    assert changed_files(project) == ["settings/catalog.py"]


@only_in_full_runs
def test_both_backends_deploy_the_eighth_service(program_output: dict[str, Any]) -> None:
    assert "docker:index/container:Container billing" in program_output["docker"]
    assert {
        "kubernetes:apps/v1:Deployment billing",
        "kubernetes:core/v1:Service billing",
        "kubernetes:networking.k8s.io/v1:NetworkPolicy billing",
    } <= {*program_output["kubernetes"]}


@only_in_full_runs
def test_the_eighth_service_has_its_own_database_and_roles(program_output: dict[str, Any]) -> None:
    assert program_output["environment"]["DATABASE_NAME"] == "pti_billing"
    assert program_output["environment"]["DATABASE_USER"] == "pti_billing_app"
    assert {"pti_billing_app", "pti_billing_migrator"} <= {*program_output["provisioned"]}
    assert {"billingAppPassword", "billingMigratorPassword"} <= {*program_output["credentials"]}


@only_in_full_runs
def test_the_eighth_service_has_a_route_an_editor_environment_and_its_keys(program_output: dict[str, Any]) -> None:
    assert "/api/billing/" in program_output["routes"]
    assert program_output["editor"]["DATABASE_NAME"] == "pti_billing"
    assert "`billingAppPassword`" in program_output["configuration"]
    assert "billing" in program_output["overrides"]


@only_in_full_runs
def test_the_settings_ask_for_the_connections_of_an_eighth_service(program_output: dict[str, Any]) -> None:
    """The default of `postgres.maxConnections` is enough for the present services only."""
    assert "postgres.maxConnections" in program_output["refused"]
    assert "is lower than the 156 connections that the roles may open" in program_output["refused"]

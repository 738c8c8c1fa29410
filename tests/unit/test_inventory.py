"""Every resource of a stack, compared with a reviewed listing.

`UPDATE_GOLDEN=1 pytest tests/unit/test_inventory.py` rewrites the listings; review them with the change.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from recording.recorder import STACK, Recording
from settings.credentials import CREDENTIALS
from tests.unit.conftest import FULL_DOCKER, GENERATED_KRAFT, PROD_SECRETS, Deploy, stack_file
from tests.unit.paths import ROOT

GOLDEN = ROOT / "tests" / "unit" / "golden"
CONFIGURATIONS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, str]]] = {
    "dev": (stack_file("dev"), {}),
    "generated-kraft": (GENERATED_KRAFT, {}),
    "full-docker": (FULL_DOCKER, {}),
    "prod": (stack_file("prod"), PROD_SECRETS),
}
"""The configuration and the supplied secrets."""

WORKLOAD_KINDS = ("Container", "Deployment", "StatefulSet")
ENDPOINT = re.compile(r"[\w.-]+:\d+")


def inventory(recording: Recording[Any]) -> str:
    """Return one line per resource, indented below its parent: type, name, protection."""
    lines: list[str] = []

    def describe(parent: str, depth: int) -> None:
        children = [one for one in recording.registrations if one.parent == parent]
        for one in sorted(children, key=lambda child: (child.type, child.name)):
            marks = [*(["protect"] if one.protect else []), *(["retain on delete"] if one.retain_on_delete else [])]
            lines.append("  " * depth + str(one) + (f" [{', '.join(marks)}]" if marks else ""))
            describe(str(one), depth + 1)

    (root,) = {one.parent for one in recording.registrations if one.parent.startswith(STACK)}
    describe(root, 0)
    assert len(lines) == len(recording.registrations), "a resource is missing from the listing"
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("shape", CONFIGURATIONS)
def test_a_stack_has_exactly_the_resources_of_its_golden_inventory(deploy: Deploy, shape: str) -> None:
    found, listing = inventory(deploy(*CONFIGURATIONS[shape])), GOLDEN / f"{shape}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        listing.write_text(found)
    assert found == listing.read_text(), "UPDATE_GOLDEN=1 rewrites the listing"


@pytest.mark.parametrize("shape", CONFIGURATIONS)
def test_no_two_resources_share_type_and_name(deploy: Deploy, shape: str) -> None:
    twice = [
        name for name, count in Counter(map(str, deploy(*CONFIGURATIONS[shape]).registrations)).items() if count > 1
    ]
    assert twice == []


@pytest.mark.parametrize("shape", CONFIGURATIONS)
def test_every_component_registers_its_outputs_once(deploy: Deploy, shape: str) -> None:
    recording = deploy(*CONFIGURATIONS[shape])
    components = [str(one) for one in recording.registrations if one.type.startswith("pti-calendar:")]
    assert sorted(recording.outputs_registered_by) == sorted(components)


@pytest.mark.parametrize("shape", CONFIGURATIONS)
def test_components_register_the_endpoints_of_deployed_workloads(deploy: Deploy, shape: str) -> None:
    recording = deploy(*CONFIGURATIONS[shape])
    assert [component for component, outputs in recording.component_outputs.items() if not outputs] == []
    workloads = tuple(one.name for kind in WORKLOAD_KINDS for one in recording.of_type(kind))
    found = [
        part
        for outputs in recording.component_outputs.values()
        for value in outputs.values()
        if isinstance(value, str) and "://" not in value
        for part in value.split(",")
    ]
    assert found != []
    assert [one for one in found if not (ENDPOINT.fullmatch(one) and one.startswith(workloads))] == []


@pytest.mark.parametrize("shape", CONFIGURATIONS)
def test_components_register_no_credential(deploy: Deploy, shape: str) -> None:
    recording = deploy(*CONFIGURATIONS[shape])
    assert recording.secret_component_outputs == set()
    values = {*PROD_SECRETS.values(), "generated", *(one.well_known for one in CREDENTIALS if one.well_known)}
    registered = {value for outputs in recording.component_outputs.values() for value in texts_in(outputs)}
    assert registered & values == set()


def texts_in(value: object) -> Iterator[str]:
    """Yield every text in a JSON value."""
    if isinstance(value, Mapping):
        yield from texts_in(list(value.values()))
    elif isinstance(value, list):
        for one in value:
            yield from texts_in(one)
    elif isinstance(value, str):
        yield value


def test_a_protected_stack_protects_resources_that_cannot_be_recreated(deploy: Deploy) -> None:
    protected = [one for one in deploy(GENERATED_KRAFT).registrations if one.protect]
    assert {one.type.rpartition(":")[2] for one in protected} == {"Volume", "RandomPassword"}


def test_production_protects_resources_that_cannot_be_recreated(deploy: Deploy) -> None:
    protected = [one for one in deploy(*CONFIGURATIONS["prod"]).registrations if one.protect]
    assert {one.type.rpartition(":")[2] for one in protected} == {
        "Namespace",
        "PersistentVolumeClaim",
        "RandomPassword",
    }


def test_an_unprotected_stack_protects_nothing(dev: Recording[Any]) -> None:
    assert [str(one) for one in dev.registrations if one.protect] == []

"""Resource addresses (URNs) in the program; tests/engine/test_addresses.py covers a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pytest
from pulumi.resource_hooks import ResourceHookArgs

from backends.addresses import RECORD_NAME, Addresses
from operations.project import PROJECT
from recording.recorder import Recording, record
from workloads import WorkloadError

GROUP, OUTER, OBJECT = "test:index:Group", "test:index:Outer", "kubernetes:policy/v1:PodDisruptionBudget"
UNNESTED_ADDRESSES = {
    f"{GROUP} group": f"{GROUP}::group",
    "kubernetes:policy:PodDisruptionBudget web": f"{GROUP}${OBJECT}::budget",
}
NESTED_ADDRESSES = {key: f"{OUTER}${address}" for key, address in UNNESTED_ADDRESSES.items()}


def run(moved: Mapping[str, str] = {}, *, nested: bool = True, name: str = "budget") -> Recording[Any]:
    """Record a component with one object, optionally below another component."""

    def program() -> None:
        with Addresses(project=PROJECT, stack="dev", moved=moved):
            outer = pulumi.ComponentResource(OUTER, "outer") if nested else None
            group = pulumi.ComponentResource(GROUP, "group", opts=pulumi.ResourceOptions(parent=outer))
            props = {"kind": "PodDisruptionBudget", "metadata": {"name": "web"}}
            pulumi.CustomResource(OBJECT, name, props, pulumi.ResourceOptions(parent=group))

    return record(program)


def update(recording: Recording[Any], recorded: Mapping[str, str]) -> None:
    """Call the hook like the engine, with these addresses recorded in the state."""
    hook = recording.hooks["addresses-refuse-move"]
    assert isinstance(hook, pulumi.ResourceHook)
    assert hook.opts is not None
    assert hook.opts.on_dry_run
    answered = hook.callback(ResourceHookArgs("urn", "", RECORD_NAME, "", old_inputs={"input": recorded}))
    assert asyncio.iscoroutine(answered)
    asyncio.run(answered)


def refused_entries(recording: Recording[Any], recorded: Mapping[str, str]) -> list[str]:
    """Return the entries that a refusal asks the user to add."""
    with pytest.raises(WorkloadError, match="MOVED") as error:
        update(recording, recorded)
    return [line.strip() for line in str(error.value).splitlines() if line.startswith(" ")]


def test_the_record_has_every_address_and_comes_first() -> None:
    recording = run()
    assert recording.get("Stash", RECORD_NAME).inputs["input"] == {
        f"{OUTER} outer": f"{OUTER}::outer",
        **NESTED_ADDRESSES,
    }
    assert recording.registrations[0].name == RECORD_NAME
    assert recording.get("Stash", RECORD_NAME).hooks == {"before_update": ("addresses-refuse-move",)}


def test_nothing_depends_on_the_record() -> None:
    assert {one for registration in run().registrations for one in registration.dependencies} == set()


def test_a_moved_component_is_refused_with_the_one_entry_it_needs() -> None:
    assert refused_entries(run(), UNNESTED_ADDRESSES) == [f'"{GROUP}::group": "{OUTER}${GROUP}::group",']


@pytest.mark.parametrize("recorded", [UNNESTED_ADDRESSES, NESTED_ADDRESSES])
def test_an_entry_moves_the_component_and_its_children(recorded: Mapping[str, str]) -> None:
    recording = run({f"{GROUP}::group": f"{OUTER}${GROUP}::group"})
    update(recording, recorded)
    prefix = f"urn:pulumi:dev::{PROJECT}::"
    assert recording.get("Group", "group").aliases == (f"{prefix}{GROUP}::group",)
    assert recording.get("PodDisruptionBudget", "budget").aliases == (f"{prefix}{GROUP}${OBJECT}::budget",)


def test_renaming_the_resource_of_an_object_with_a_fixed_name_is_refused() -> None:
    entry = f'"{GROUP}${OBJECT}::budget": "{GROUP}${OBJECT}::limit",'
    assert refused_entries(run(nested=False, name="limit"), UNNESTED_ADDRESSES) == [entry]


def test_another_api_version_is_the_same_object() -> None:
    recorded = {key: address.replace("policy/v1", "policy/v1beta1") for key, address in UNNESTED_ADDRESSES.items()}
    assert len(refused_entries(run(nested=False), recorded)) == 1


@pytest.mark.parametrize("recorded", [{}, {f"{OBJECT} gone": f"{OBJECT}::gone"}])
def test_added_and_removed_resources_are_not_moves(recorded: Mapping[str, str]) -> None:
    update(run(), recorded)


def test_a_failing_program_registers_nothing_and_reports_its_error() -> None:
    registered: list[str] = []

    def program() -> None:
        with Addresses(project=PROJECT, stack="dev"):
            group = pulumi.ComponentResource(GROUP, "group")
            group.urn.apply(registered.append)
            raise WorkloadError("the cluster has no default storage class")

    program_of: Callable[[], None] = program
    with pytest.raises(WorkloadError, match="no default storage class"):
        record(program_of)
    assert registered == []


def test_a_program_that_never_records_its_addresses_fails() -> None:
    def program() -> None:
        Addresses(project=PROJECT, stack="dev")
        pulumi.ComponentResource(GROUP, "group")

    program_of: Callable[[], None] = program
    with pytest.raises(RuntimeError, match="has not ended"):
        record(program_of)

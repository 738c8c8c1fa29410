"""Pulumi's own commands: an update of one resource, an export and import of the state, a second stack."""

from __future__ import annotations

import json

import pytest

from tests.engine import configurations, docker_engine
from tests.engine.conftest import STORES, MakeStack
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.stores import Stores
from tests.failures import FailureRecord

NOTHING_LOST = "nothing: rows, keys and events still exist"


def container(stack: PulumiStack, name: str) -> str:
    """Return the URN of a workload's container."""
    (urn,) = (
        one["urn"]
        for one in stack.export()["deployment"]["resources"]
        if one["type"] == "docker:index/container:Container" and one["urn"].endswith(f"::{name}")
    )
    return str(urn)


def started(stack: PulumiStack) -> dict[str, str]:
    """Map each container to its start time."""
    return {one["Name"]: one["State"]["StartedAt"] for one in docker_engine.containers(stack.name)}


@pytest.mark.parametrize("store", ["postgres", "redis", "kafka"])
def test_a_replaced_store_keeps_its_data(stores_stack: PulumiStack, store: str, failure_record: FailureRecord) -> None:
    failure_record.begin(
        f"`pulumi up --replace` of {store}'s container", on="Docker", effect="the store is unavailable meanwhile"
    )
    Stores(stores_stack.outputs()).write(f"before-{store}")
    before = started(stores_stack)

    with failure_record.measure_recovery():
        stores_stack.up("--replace", container(stores_stack, store)).succeeded()

    after = started(stores_stack)
    assert after[f"/pti-{store}-{stores_stack.name}"] != before[f"/pti-{store}-{stores_stack.name}"]
    assert docker_engine.workloads(stores_stack.name) == STORES
    Stores(stores_stack.outputs()).check(f"before-{store}")
    failure_record.set_lost(NOTHING_LOST)
    stores_stack.preview("--expect-no-changes").succeeded()


def test_a_targeted_update_leaves_other_changes_for_the_next(
    stores_stack: PulumiStack, failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "`pulumi up --target` changes one store of two", on="Docker", effect="the next update changes the other"
    )
    Stores(stores_stack.outputs()).write("before-the-target")
    stores_stack.configure({"redis": {"maxMemoryMib": 120}, "postgres": {"maxConnections": 155}})
    before = started(stores_stack)

    stores_stack.up("--target", container(stores_stack, "redis"), "--target-dependents").succeeded()
    names = {f"/pti-{name}-{stores_stack.name}" for name in ("postgres", "kafka")}
    after = started(stores_stack)
    assert {name for name in names if after[name] != before[name]} == set()

    with failure_record.measure_recovery():
        stores_stack.up().succeeded()
    stores = Stores(stores_stack.outputs())
    stores.check("before-the-target")
    assert stores.setting("max_connections") == "155"
    failure_record.set_lost(NOTHING_LOST)
    stores_stack.preview("--expect-no-changes").succeeded()


def test_exporting_and_importing_the_state_changes_nothing(
    stores_stack: PulumiStack, failure_record: FailureRecord
) -> None:
    failure_record.begin("The state is exported, lost and imported", on="Docker", effect="nothing")
    Stores(stores_stack.outputs()).write("before-the-move")
    exported = stores_stack.home / "exported.json"
    exported.write_text(json.dumps(stores_stack.export()))
    before = started(stores_stack)

    stores_stack.lose_state()
    with failure_record.measure_recovery():
        stores_stack.import_state(exported)
        assert stores_stack.up().succeeded().changes == []

    assert started(stores_stack) == before
    Stores(stores_stack.outputs()).check("before-the-move")
    failure_record.set_lost("nothing: the passwords are the same too")


def test_a_second_stack_does_not_affect_the_first(
    stores_stack: PulumiStack, make_stack: MakeStack, failure_record: FailureRecord
) -> None:
    failure_record.begin("A second stack is created and destroyed on the same engine", on="Docker", effect="nothing")
    Stores(stores_stack.outputs()).write("beside")
    before = started(stores_stack)
    networks = docker_engine.networks(stores_stack.name)

    second = make_stack(configuration=configurations.kraft())
    second.up().succeeded()
    Stores(second.outputs()).write("of-the-second")
    second.destroy().succeeded()
    docker("volume", "rm", *docker_engine.persistent_volumes(second.name))

    assert started(stores_stack) == before
    assert docker_engine.networks(stores_stack.name) == networks
    Stores(stores_stack.outputs()).check("beside")
    failure_record.set_lost(NOTHING_LOST)
    stores_stack.preview("--expect-no-changes").succeeded()

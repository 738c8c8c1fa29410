"""Pulumi's own commands on a small stack under load, such as an update of one resource or an import of the state.

Other tests repair StatefulSets that were broken with kubectl. Each test leaves the stack healthy.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from testbed.cluster.constants import NODE_NAME
from tests.e2e.kubernetes.pods import port_forward
from tests.e2e.kubernetes.stack import ClusterStack, is_ready
from tests.e2e.kubernetes.under_load import recovered, under_load
from tests.engine.event_log import Step
from tests.engine.stores import Stores
from tests.engine.waiting import until
from tests.failures import FailureRecord

BROKEN: dict[str, dict[str, Any]] = {
    "a command that doesn't exist": {"command": ["no-such-command"]},
    "a readiness check that always fails": {"readinessProbe": {"exec": {"command": ["false"]}}},
    "too little memory": {"resources": {"limits": {"memory": "8Mi"}, "requests": {"memory": "8Mi"}}},
}
"""Changes of a store's container after which its pod never becomes ready."""


def urn(stack: ClusterStack, kind: str, name: str) -> str:
    """Return the URN of an object."""
    (found,) = (
        one["urn"]
        for one in stack.export()["deployment"]["resources"]
        if one["type"].startswith("kubernetes:") and one["urn"].endswith(f":{kind}::{name}")
    )
    return str(found)


def uids(stack: ClusterStack, kind: str) -> dict[str, str]:
    """Map the objects of a kind to their UIDs."""
    return {one["metadata"]["name"]: one["metadata"]["uid"] for one in stack.objects(kind)}


def max_connections(stack: ClusterStack) -> str:
    """Return the running PostgreSQL's `max_connections`."""
    with port_forward(stack, "statefulset/postgres", 5432) as port:
        return Stores(stack.outputs(), ("127.0.0.1", port)).setting("max_connections")


@contextmanager
def cordoned(stack: ClusterStack) -> Iterator[None]:
    """Prevent the scheduling of new pods for the duration of the context."""
    stack.cluster.kubectl("cordon", NODE_NAME)
    try:
        yield
    finally:
        stack.cluster.kubectl("uncordon", NODE_NAME)


@pytest.mark.parametrize("times", [1, 2])
def test_the_next_up_completes_an_interrupted_one(
    small_stack: ClusterStack, times: int, failure_record: FailureRecord
) -> None:
    """The update waits for Redis' pod, which can't be scheduled."""
    failure_record.begin(
        f"Ctrl-C {'once' if times == 1 else 'twice'} while an `up` waits for Redis",
        on="Kubernetes",
        effect="nothing: bookings work without Redis; the next `up` completes it",
    )
    memory_mib = 72 + 8 * times
    small_stack.change({"redis": {"maxMemoryMib": memory_mib}})
    waits = Step("begun", "update", "Stash", "redis-ready")
    with under_load(small_stack, failure_record) as load:
        with cordoned(small_stack):
            interrupted = small_stack.interrupt_up_when(str(waits), lambda steps: waits in steps, times)
            assert "^C received" in interrupted
            assert not any(map(is_ready, small_stack.pods("redis").values()))
        with failure_record.measure_recovery():
            small_stack.up("--refresh").succeeded()
            recovered(small_stack)
    assert load.failures == []
    configuration = small_stack.kubectl("exec", "redis-0", "--", "cat", "/usr/local/etc/redis/redis.conf")
    assert f"maxmemory {memory_mib}mb\n" in configuration
    small_stack.preview("--expect-no-changes").succeeded()


def test_a_replaced_postgresql_keeps_its_rows(small_stack: ClusterStack, failure_record: FailureRecord) -> None:
    failure_record.begin(
        "`pulumi up --replace` of PostgreSQL's StatefulSet",
        on="Kubernetes",
        effect="503 from every service until the new pod is ready",
    )
    sets, claims = uids(small_stack, "statefulsets"), uids(small_stack, "persistentvolumeclaims")
    with under_load(small_stack, failure_record), failure_record.measure_recovery():
        small_stack.up("--replace", urn(small_stack, "StatefulSet", "postgres")).succeeded()
        recovered(small_stack)
    after = uids(small_stack, "statefulsets")
    assert {name for name, uid in after.items() if sets[name] != uid} == {"postgres"}
    assert uids(small_stack, "persistentvolumeclaims") == claims
    small_stack.preview("--expect-no-changes").succeeded()


def test_a_targeted_update_leaves_other_changes_for_the_next(
    small_stack: ClusterStack, failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "`pulumi up --target` changes one store of two",
        on="Kubernetes",
        effect="the next update changes the other, and restarts it",
    )
    before = small_stack.identities()
    small_stack.change({"redis": {"maxMemoryMib": 100}, "postgres": {"maxConnections": 155}})
    with under_load(small_stack, failure_record):
        targeted = urn(small_stack, "StatefulSet", "redis")
        small_stack.up("--target", targeted, "--target-dependents").succeeded()
        assert small_stack.rolled_since(before) == {"redis"}
        with failure_record.measure_recovery():
            small_stack.up().succeeded()
            recovered(small_stack)
    assert small_stack.rolled_since(before) == {"redis", "postgres"}
    assert max_connections(small_stack) == "155"
    small_stack.preview("--expect-no-changes").succeeded()


def test_exporting_and_importing_the_state_changes_nothing(
    small_stack: ClusterStack, failure_record: FailureRecord
) -> None:
    failure_record.begin("The state is exported, lost and imported", on="Kubernetes", effect="nothing")
    exported = small_stack.home / "exported.json"
    exported.write_text(json.dumps(small_stack.export()))
    before = small_stack.identities()
    with under_load(small_stack, failure_record) as load:
        small_stack.lose_state()
        with failure_record.measure_recovery():
            small_stack.import_state(exported)
            assert small_stack.up("--refresh").succeeded().changes == []
    assert small_stack.identities() == before
    assert load.failures == []


def test_a_lost_state_loses_no_row(small_stack: ClusterStack, failure_record: FailureRecord) -> None:
    """The stack keeps running; a new state adopts its claims and objects, and generates new credentials."""
    effect = "the next `up` adopts every object and claim, and replaces each pod once, with new passwords"
    failure_record.begin("Pulumi's state is lost", on="Kubernetes", effect=effect)
    tenant = uuid.uuid4()
    assert small_stack.platform().book(tenant, title="before the loss").status == 201
    before, claims = small_stack.outputs(), uids(small_stack, "persistentvolumeclaims")
    small_stack.lose_state()
    with failure_record.measure_recovery():
        small_stack.up().succeeded()
        recovered(small_stack)
    after = small_stack.outputs()
    for role, password in before.credentials.postgres.items():
        assert after.credentials.postgres[role] != password
    assert after.credentials.redis != before.credentials.redis
    assert uids(small_stack, "persistentvolumeclaims") == claims
    platform = small_stack.platform()
    assert platform.titles(tenant) == ["before the loss"]
    platform.journey()
    failure_record.set_lost("the old passwords; rows, keys and events still exist")
    small_stack.preview("--expect-no-changes").succeeded()


@pytest.mark.parametrize("mistake", BROKEN)
def test_the_next_up_repairs_a_store_that_was_broken_by_hand(
    small_stack: ClusterStack, mistake: str, failure_record: FailureRecord
) -> None:
    effect = "nothing: bookings work without Redis"
    failure_record.begin(f"Redis gets {mistake}, by hand", on="Kubernetes", effect=effect)
    container = {"name": "redis", **BROKEN[mistake]}
    patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
    before = uids(small_stack, "pods")["redis-0"]
    with under_load(small_stack, failure_record) as load:
        small_stack.kubectl("patch", "statefulset/redis", f"--patch={json.dumps(patch)}")
        until("Redis has another pod", lambda: uids(small_stack, "pods").get("redis-0", before) != before)
        with failure_record.measure_recovery():
            small_stack.up("--refresh").succeeded()
            recovered(small_stack)
    assert load.failures == []
    small_stack.preview("--refresh", "--expect-no-changes").succeeded()

"""Outages of the stores: what continues without them, and that no container is killed."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from settings.catalog import SERVICES
from tests.e2e.bookings import Bookings
from tests.e2e.counted import counted
from tests.e2e.kubernetes.pods import port_forward
from tests.e2e.kubernetes.restarts import restarts
from tests.e2e.kubernetes.stack import ClusterStack, is_ready
from tests.e2e.load import Load
from tests.e2e.outages import check_events_arrived_once
from tests.engine.waiting import DEADLINE_S, until
from tests.failures import FailureRecord

SERVICE_NAMES = [service.name for service in SERVICES]

OUTAGE_S = 300
"""Run time that every container reaches without its stores."""


@pytest.fixture(scope="module", autouse=True)
def up(stack: ClusterStack) -> None:
    """The stack in the module's initial state."""
    stack.up().succeeded()


def test_bookings_continue_without_redis_and_kafka(stack: ClusterStack, failure_record: FailureRecord) -> None:
    failure_record.begin(
        "Redis is down, then Kafka too",
        on="Kubernetes",
        effect="nothing: lists come from the database, events arrive later, rate limits aren't enforced",
    )
    platform, inside = stack.platform(), stack.inside()
    bookings = Bookings(platform)
    with Load(bookings.next, per_second=4, max_duration_s=400, workers=32) as load:
        more_bookings(bookings)
        with ExitStack() as away:
            away.enter_context(stack.scaled("redis", 0))
            inside.wait_until_unavailable("redis")
            wait_for_alerts(stack, {"RedisDown", "DependencyUnavailable"})
            more_bookings(bookings)
            away.enter_context(stack.scaled("kafka", 0))
            inside.wait_until_unavailable("redis", "kafka")
            more_bookings(bookings)
            until("events are waiting", lambda: inside.outbox_events() > 0)
            ready = {pod: is_ready(one) for name in SERVICE_NAMES for pod, one in stack.pods(name).items()}
        with failure_record.measure_recovery():
            inside.wait_until_unavailable()
            until("no event is waiting", lambda: inside.outbox_events() == 0)
    failure_record.set_requests(load)
    assert load.failures == []
    assert set(ready.values()) == {True}
    with port_forward(stack, "statefulset/postgres", 5432) as port:
        check_events_arrived_once(stack.outputs(), bookings, ("127.0.0.1", port))
    failure_record.set_lost("nothing")
    until("every pod is ready", stack.all_ready)


def test_no_container_is_killed_during_an_outage_of_the_stores(
    stack: ClusterStack, failure_record: FailureRecord
) -> None:
    """Everything else starts meanwhile, including one of three brokers, which has no quorum."""
    failure_record.begin(
        "All stores are down while everything else starts",
        on="Kubernetes",
        effect="503 from every service until the stores are back",
    )
    platform, tenant = stack.platform(), uuid.uuid4()
    assert platform.book(tenant, title="before the outage").status == 201
    with counted(platform, failure_record):
        with ExitStack() as away:
            for store, replicas in {"postgres": 0, "redis": 0, "kafka": 1}.items():
                away.enter_context(stack.scaled(store, replicas))
            old = identities(stack)
            stack.kubectl("delete", "pods", *old, "--wait=false", "--grace-period=1")
            until("only new pods are left", lambda: not {*old.values()} & {*identities(stack).values()})
            until(
                "every container has been running long enough",
                lambda: shortest_run_s(stack) > OUTAGE_S,
                OUTAGE_S + DEADLINE_S,
            )
            assert set(restarts(stack.cluster).values()) == {0}
            assert {name for name in SERVICE_NAMES if any(map(is_ready, stack.pods(name).values()))} == set()
            before = identities(stack)
        with failure_record.measure_recovery():
            began = time.monotonic()
            platform.seconds_until_recovered()
            until("every pod is ready", stack.all_ready)
        print(f"recovered {time.monotonic() - began:.0f} s after the stores were scaled up again")
    after = identities(stack)
    assert before.items() <= after.items(), "a pod was replaced"
    assert set(restarts(stack.cluster).values()) == {0}
    assert platform.titles(tenant) == ["before the outage"]
    failure_record.set_lost("nothing")


def more_bookings(bookings: Bookings) -> None:
    """Wait until ten more bookings are acknowledged."""
    enough = len(bookings.acknowledged) + 10
    until("bookings succeed", lambda: len(bookings.acknowledged) >= enough)


def wait_for_alerts(stack: ClusterStack, names: set[str]) -> None:
    """Wait until Prometheus reports these alerts as pending, before their `for` time is over."""
    with port_forward(stack, "statefulset/prometheus", 9090) as port:
        query = urllib.parse.urlencode({"query": 'ALERTS{workload="redis"}'})
        address = f"http://127.0.0.1:{port}/api/v1/query?{query}"

        def raised() -> set[str]:
            with urllib.request.urlopen(address, timeout=30) as answer:
                found = json.load(answer)["data"]["result"]
            return {one["metric"]["alertname"] for one in found}

        until(f"alerts {names}", lambda: raised() >= names)


def identities(stack: ClusterStack) -> dict[str, str]:
    """Map each pod to its UID."""
    return {name: pod["metadata"]["uid"] for name, pod in stack.pods().items()}


def shortest_run_s(stack: ClusterStack) -> float:
    """Return the run time of the youngest container, or 0 if one isn't running."""
    started = [status["state"].get("running", {}).get("startedAt") for status in containers(stack)]
    if not started or None in started:
        return 0
    youngest = max(datetime.fromisoformat(one) for one in started)
    return (datetime.now(UTC) - youngest).total_seconds()


def containers(stack: ClusterStack) -> list[dict[str, Any]]:
    """Return the states of all containers; a missing one counts as waiting."""
    nothing: list[dict[str, Any]] = [{"state": {}}]
    return [one for pod in stack.pods().values() for one in pod["status"].get("containerStatuses", nothing)]

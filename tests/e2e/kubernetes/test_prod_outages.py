"""Stores that are away: what goes on without them."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from contextlib import ExitStack

import pytest

from settings.catalog import SERVICES
from tests.e2e.bookings import Bookings
from tests.e2e.kubernetes.pods import port_forward
from tests.e2e.kubernetes.stack import ClusterStack, is_ready
from tests.e2e.load import Load
from tests.e2e.outages import every_event_arrived_once
from tests.engine.waiting import until
from tests.failures import Tried

SERVICE_NAMES = [service.name for service in SERVICES]


@pytest.fixture(scope="module", autouse=True)
def up(stack: ClusterStack) -> None:
    """The stack as the module finds it."""
    stack.up().succeeded()


def test_bookings_go_on_without_redis_and_without_kafka(stack: ClusterStack, tried: Tried) -> None:
    tried.failure(
        "Redis is away, then Kafka as well",
        on="Kubernetes",
        notice="nothing: lists come from the database, events arrive later, limits don't hold",
    )
    platform, inside = stack.platform(), stack.inside()
    bookings = Bookings(platform)
    with Load(bookings.next, per_second=4, at_most_s=400, workers=32) as load:
        more_bookings(bookings)
        with ExitStack() as away:
            away.enter_context(stack.scaled("redis", 0))
            inside.wait_until_away("redis")
            wait_for_alerts(stack, {"RedisDown", "DependencyUnavailable"})
            more_bookings(bookings)
            away.enter_context(stack.scaled("kafka", 0))
            inside.wait_until_away("redis", "kafka")
            more_bookings(bookings)
            until("events wait", lambda: inside.events_waiting() > 0)
            ready = {pod: is_ready(one) for name in SERVICE_NAMES for pod, one in stack.pods(name).items()}
        with tried.until_well():
            inside.wait_until_away()
            until("no event waits", lambda: inside.events_waiting() == 0)
    tried.requests(load)
    assert load.failures == []
    assert set(ready.values()) == {True}
    with port_forward(stack, "statefulset/postgres", 5432) as port:
        every_event_arrived_once(stack.outputs(), bookings, ("127.0.0.1", port))
    tried.lost("nothing")
    until("every pod is ready", stack.all_ready)


def more_bookings(bookings: Bookings) -> None:
    """Waits until ten more are acknowledged."""
    enough = len(bookings.acknowledged) + 10
    until("bookings are taken", lambda: len(bookings.acknowledged) >= enough)


def wait_for_alerts(stack: ClusterStack, names: set[str]) -> None:
    """Waits until Prometheus has begun to raise these alerts: pending, as their time isn't over."""
    with port_forward(stack, "statefulset/prometheus", 9090) as port:
        query = urllib.parse.urlencode({"query": 'ALERTS{workload="redis"}'})
        address = f"http://127.0.0.1:{port}/api/v1/query?{query}"

        def raised() -> set[str]:
            with urllib.request.urlopen(address, timeout=30) as answer:
                found = json.load(answer)["data"]["result"]
            return {one["metric"]["alertname"] for one in found}

        until(f"alerts {names}", lambda: raised() >= names)

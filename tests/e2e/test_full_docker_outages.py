"""The whole platform on Docker during outages of its stores: Redis, then Kafka as well, then all of them.

The tests share one stack and run in file order; each leaves the platform healthy.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import pytest

from settings.catalog import FRONTENDS, SERVICES
from tests.e2e.bookings import Bookings
from tests.e2e.counted import counted
from tests.e2e.full_stack import FRONTEND_IMAGE, FullStack, configuration, full_stack, third_party_secrets, timed
from tests.e2e.load import Load
from tests.e2e.outages import check_events_arrived_once
from tests.engine import docker_engine
from tests.engine.docker_engine import docker
from tests.engine.waiting import DEADLINE_S, until
from tests.failures import FailureRecord

NAMES = [service.name for service in SERVICES]
OUTAGE_S = 300
"""Run time that every container reaches without its stores."""

UNREADY_CHECKS = 14
"""Consecutive failed health checks; a liveness probe that failed twelve times would have killed the process."""

OUTAGE_DEADLINE_S = UNREADY_CHECKS * 20
"""Deadline for these checks. Each takes two seconds without the database, and the interval is five seconds."""

OLD_SESSION_MESSAGE = "node already exists and owner"
"""A broker's last log line when ZooKeeper still has its former session."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullStack]:
    """The platform, up."""
    described = configuration({"deploy": "all"}) | {"frontends": {"deploy": "all", "image": FRONTEND_IMAGE}}
    with full_stack(tmp_path_factory.mktemp("stack"), described) as made:
        made.set_secrets(third_party_secrets())
        made.up().succeeded()
        yield made


def test_bookings_continue_without_redis_and_kafka(stack: FullStack, failure_record: FailureRecord) -> None:
    failure_record.begin(
        "Redis is stopped, then Kafka too",
        on="Docker",
        effect="nothing: lists come from the database, events arrive later, rate limits aren't enforced",
    )
    platform = stack.platform()
    bookings, inside = Bookings(platform), stack.inside()
    with Load(bookings.next, per_second=5, max_duration_s=300, workers=32) as load:
        more_bookings(bookings)
        with stack.without("redis"):
            inside.wait_until_unavailable("redis")
            more_bookings(bookings)
            with stack.without("kafka"):
                inside.wait_until_unavailable("redis", "kafka")
                more_bookings(bookings)
                until("events are waiting", lambda: inside.outbox_events() > 0)
                workloads = docker_engine.workloads(stack.name)
        with failure_record.measure_recovery():
            inside.wait_until_unavailable()
            until("no event is waiting", lambda: inside.outbox_events() == 0)
    failure_record.set_requests(load)
    assert load.failures == []
    assert {workloads[name] for name in (*NAMES, "kong", "nginx")} == {"healthy"}
    check_events_arrived_once(stack.outputs(), bookings)
    failure_record.set_lost("nothing")
    platform.journey()


@pytest.mark.restarts("Kafka may exit once after ZooKeeper's return")
def test_no_container_is_restarted_during_an_outage_of_the_stores(
    stack: FullStack, failure_record: FailureRecord
) -> None:
    """The outage lasts longer than any liveness probe allows; services, gateway and front ends start meanwhile, Kafka
    before ZooKeeper.

    Kafka may exit once after ZooKeeper's return: ZooKeeper refuses it until its former session expires (KAFKA-7165).
    """
    failure_record.begin(
        "All stores are down while everything else starts",
        on="Docker",
        effect="503 from every service until the stores are back",
    )
    platform = stack.platform()
    tenant = uuid.uuid4()
    assert platform.book(tenant, title="before the outage").status == 201
    started = [*NAMES, *(frontend.name for frontend in FRONTENDS), "kong", "nginx"]
    with counted(platform, failure_record):
        with stack.without("zookeeper"):
            with stack.without("postgres", "redis", "kafka"):
                docker("restart", *(stack.container(name)["Id"] for name in started))
                since = start_times(stack, started)
                until(
                    "every container has been running long enough",
                    lambda: seconds_since(max(since.values())) > OUTAGE_S,
                    OUTAGE_S + DEADLINE_S,
                )
                for name in NAMES:
                    what = f"{name} has been unready for long"
                    until(what, lambda name=name: failed_checks(stack, name) >= UNREADY_CHECKS, OUTAGE_DEADLINE_S)  # type: ignore[misc]
                assert platform.listed(tenant).status == 503
                assert start_times(stack, started) == since
            what = "Kafka waits for ZooKeeper"
            until(what, lambda: failed_checks(stack, "kafka") >= UNREADY_CHECKS, OUTAGE_DEADLINE_S)
            assert stack.restarts("kafka") == 0
        with failure_record.measure_recovery(), timed("recovered after the stores' return"):
            platform.seconds_until_recovered()
    assert start_times(stack, started) == since
    assert {name: stack.restarts(name) for name in started} == dict.fromkeys(started, 0)
    print(f"Kafka was restarted {stack.restarts('kafka')} times after ZooKeeper's return")
    if stack.restarts("kafka"):
        assert OLD_SESSION_MESSAGE in docker("logs", stack.container("kafka")["Id"])
    assert platform.titles(tenant) == ["before the outage"]
    failure_record.set_lost("nothing")
    platform.journey()


def more_bookings(bookings: Bookings) -> None:
    """Wait until ten more bookings are acknowledged."""
    enough = len(bookings.acknowledged) + 10
    until("bookings succeed", lambda: len(bookings.acknowledged) >= enough)


def start_times(stack: FullStack, workloads: Iterable[str]) -> dict[str, datetime]:
    """Map each workload to the time at which its container was started."""
    return {name: datetime.fromisoformat(stack.container(name)["State"]["StartedAt"]) for name in workloads}


def seconds_since(time: datetime) -> float:
    """Return the seconds since that time."""
    return (datetime.now(UTC) - time).total_seconds()


def failed_checks(stack: FullStack, workload: str) -> int:
    """Return the number of consecutive failed health checks."""
    return int(stack.container(workload)["State"]["Health"]["FailingStreak"])

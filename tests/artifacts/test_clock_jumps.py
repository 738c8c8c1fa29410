"""The wall clock of the service, of PostgreSQL, of Redis, or of all of them jumps while appointments are booked.

The monotonic clock doesn't change, as on a machine whose clock is set. Two relays share the service's clock and outbox.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.artifacts import clock, reference_environment, reference_redis
from tests.artifacts.clock import Clock
from tests.artifacts.postgres_server import Server, installations, running_server
from tests.artifacts.provisioning_task import task_for
from tests.artifacts.reference_environment import EnvironmentMissing
from tests.artifacts.reference_process import ISSUER, JWT_SECRET, Service, ServiceEnvironment, eventually, token
from tests.failures import FailureRecord
from tests.full_run import only_in_full_runs
from tests.ports import free_port

pytestmark = only_in_full_runs

DATABASE = "pti_rdv"
RELAYS = Path(__file__).parent / "printing_relays.py"
HOUR_S = 3600
TOLERANCE_S = 60
LONG_S = 3 * HOUR_S
"""Lifetime of a token that is valid on every clock here."""

MAX_WAIT_S = 20
PUBLISHED_WITHIN_S = 10
"""Less than a lease of the outbox lasts."""

LANES, LANE_LEASED_AHEAD = 16, 7
EVENTS_PER_BUSY_LANE = 300
"""Three batches of a relay."""

ADD_EVENTS = """
    WITH lanes AS (SELECT lane, gen_random_uuid() AS tenant FROM outbox_lanes),
    events AS (
        SELECT lane, tenant, gen_random_uuid() AS appointment
        FROM lanes, generate_series(1, CASE lane WHEN %(ahead)s THEN 1 ELSE %(busy)s END)
    ),
    added AS (
        INSERT INTO outbox (tenant_id, appointment_id, body)
        SELECT tenant, appointment, json_build_object('tenant_id', tenant, 'appointment_id', appointment, 'lane', lane)
        FROM events
        RETURNING tenant_id, position, body
    )
    INSERT INTO outbox_waiting (position, tenant, lane)
    SELECT position, tenant_id, (body::json ->> 'lane')::smallint FROM added
"""
"""Adds many events to each lane, and one to the lane whose lease is from another clock."""

SERVICE, POSTGRES, REDIS = "service", "PostgreSQL", "Redis"


@dataclass
class Platform:
    """The processes, and the bookings that were acknowledged."""

    clocks: dict[str, Clock]
    server: Server
    redis_port: int
    service: Service
    events_log: Path
    tenant: str = ""
    booked: list[str] = field(default_factory=list)

    def set_ahead(self, names: list[str], seconds: int) -> None:
        """Set these clocks, and wait until the processes see them."""
        for name in names:
            self.clocks[name].set_ahead(seconds)
        for name in self.clocks:
            expected = seconds if name in names else 0
            assert abs(self.now(name) - time.time() - expected) < TOLERANCE_S, f"{name} has another clock"

    def now(self, name: str) -> float:
        """Return the Unix time that the process sees."""
        if name == POSTGRES:
            with self.server.connect() as session:
                row = session.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
            assert row is not None
            return float(row[0])
        if name == REDIS:
            return float(self.redis("TIME")[1])
        request = str(uuid4())
        self.service.request("GET", "/public/info", X_Correlation_ID=request)
        (line,) = eventually(
            lambda: [one for one in self.service.log_entries() if one.get("correlation_id") == request]
        )
        return datetime.fromisoformat(line["time"]).timestamp()

    def redis(self, *command: str) -> list[str]:
        """Return the values in Redis' response to a command."""
        with (
            socket.create_connection(("127.0.0.1", self.redis_port)) as client,
            client.makefile("rw", newline="") as end,
        ):
            for words in (("AUTH", reference_redis.PASSWORD), command):
                end.write(f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words))
                end.flush()
                response = [end.readline().strip()]
                if response[0].startswith("*"):
                    response = [end.readline().strip() for _ in range(2 * int(response[0][1:]))]
            assert not response[0].startswith("-"), response
            return [line.lstrip(":") for line in response]

    def book(self) -> str:
        """Book an appointment and return its ID."""
        body = {"title": "booked", "starts_at": "2031-05-04T09:30:00+02:00"}
        answer = self.service.request("POST", "/appointments", token(self.tenant, expires_in_s=LONG_S), body)
        assert answer.status == 201, answer.body
        self.booked.append(answer.json["id"])
        return self.booked[-1]

    def listed(self) -> tuple[list[str], str]:
        """Return the IDs in the tenant's list, and whether it came from the cache."""
        answer = self.service.get("/appointments", token(self.tenant, expires_in_s=LONG_S))
        assert answer.status == 200, answer.body
        return [one["id"] for one in answer.json], answer.headers["x-cache"]

    def published(self) -> list[str]:
        """Return the appointments of the tenant's events, in the order in which they were published."""
        return [one["appointment_id"] for one in self.events() if one["tenant_id"] == self.tenant]

    def events(self) -> list[dict[str, Any]]:
        """Return all events in the order in which they were published."""
        # The last line may be incomplete.
        return [json.loads(line) for line in self.events_log.read_text().split("\n")[:-1]]

    def check(self) -> None:
        """Book, and check what users and probes see."""
        self.book()
        self.listed()
        ids, source = self.listed()
        assert (sorted(ids), source) == (sorted(self.booked), "hit")
        eventually(lambda: self.published() == self.booked, PUBLISHED_WITHIN_S)
        assert self.service.get("/health/live").status == 200
        answer = self.service.get("/health")
        assert answer.status == 200
        assert answer.json["dependencies"] == {"postgres": "ok", "redis": "ok", "kafka": "unavailable"}


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    if not clock.LIBRARIES:
        pytest.skip("libfaketime is missing: apt-get install faketime")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The newest PostgreSQL on this machine, Redis, the service and two relays, with three clocks."""
    found, program = installations(), reference_redis.program()
    if not found:
        pytest.skip("PostgreSQL is missing (Linux only): python -m tests.artifacts.postgres_server fetch")
    if program is None:
        pytest.skip("redis-server is missing: apt-get install redis-server, or name one in PTI_REDIS_SERVER")
    try:
        reference_environment.python()
    except EnvironmentMissing as reason:
        pytest.skip(f"the reference service's requirements can't be installed here: {reason}")
    with ExitStack() as stack:
        clocks = {name: stack.enter_context(clock.running_clock()) for name in (SERVICE, POSTGRES, REDIS)}
        server = stack.enter_context(running_server(found[-1], prefix=clocks[POSTGRES].prefix))
        redis_port = stack.enter_context(reference_redis.running_redis(program, clocks[REDIS].prefix))
        task = stack.enter_context(task_for(server, DATABASE))
        outcome = task.run()
        assert outcome.status == 0, outcome.errors
        home = tmp_path_factory.mktemp("service")
        environment = ServiceEnvironment(
            home,
            {
                "SERVICE_NAME": "rdv",
                "VERSION": "1.2.3",
                "LOG_LEVEL": "info",
                "DATABASE_HOST": "127.0.0.1",
                "DATABASE_PORT": str(server.port),
                "DATABASE_NAME": DATABASE,
                "DATABASE_USER": f"{DATABASE}_migrator",
                "DATABASE_SSLMODE": "disable",
                "DATABASE_POOL_MAX": "3",
                "REDIS_HOST": "127.0.0.1",
                "REDIS_PORT": str(redis_port),
                "REDIS_TLS": "false",
                "KAFKA_BROKERS": f"127.0.0.1:{free_port()}",
                "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
                "JWT_ISSUER": ISSUER,
                "JWT_ALGORITHM": "HS256",
                **clocks[SERVICE].environment,
            },
            {
                "DATABASE_PASSWORD": task.passwords[f"{DATABASE}_migrator"],
                "REDIS_PASSWORD": reference_redis.PASSWORD,
                "JWT_SECRET": JWT_SECRET,
            },
        )
        status, output = environment.run("reference_service.migrate")
        assert status == 0, output
        environment.environment["DATABASE_USER"] = f"{DATABASE}_app"
        environment.secrets["DATABASE_PASSWORD"] = task.passwords[f"{DATABASE}_app"]
        service = stack.enter_context(environment.running())
        events_log = home / "events.log"
        with events_log.open("wb") as sink:
            relays = environment.start(str(RELAYS), sink)
        stack.callback(_kill, relays)
        yield Platform(clocks, server, redis_port, service, events_log)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("owner", "effect"),
    [
        (SERVICE, "while it is ahead, 401 for tokens that expire within the hour"),
        (POSTGRES, "nothing"),
        (REDIS, "nothing: while it is ahead, cached lists have expired; after the jump back, they live an hour longer"),
        (None, "while it is ahead, 401 for tokens issued before the jump that expire within the hour"),
    ],
    ids=["service", "postgres", "redis", "all"],
)
def test_a_clock_jumps_forward_and_back(
    platform: Platform, failure_record: FailureRecord, owner: str | None, effect: str
) -> None:
    names = [owner] if owner else [*platform.clocks]
    whose = f"{owner}'s clock jumps" if owner in (POSTGRES, REDIS) else "The clock of every process jumps"
    if owner == SERVICE:
        whose = "A service's clock jumps"
    failure_record.begin(f"{whose} an hour forward, then back", on="reference service", effect=effect)
    platform.tenant, platform.booked = str(uuid4()), []
    platform.check()
    issued_before = token(platform.tenant)

    platform.set_ahead(names, HOUR_S)
    expected_source = "miss" if REDIS in names else "hit"
    assert platform.listed() == (platform.booked, expected_source)
    expected_status = 401 if SERVICE in names else 200
    assert platform.service.get("/appointments", issued_before).status == expected_status
    platform.check()

    platform.set_ahead(names, 0)
    (remaining_s,) = platform.redis("TTL", f"rdv:appointments:{platform.tenant}")
    assert (int(remaining_s) > HOUR_S) == (REDIS in names)
    assert platform.service.get("/appointments", issued_before).status == 200
    platform.check()

    assert platform.published() == platform.booked
    failure_record.set_lost(
        f"nothing: {len(platform.booked)} of {len(platform.booked)} bookings, each event published once"
    )


def test_the_lease_of_a_dead_replica_ends_after_a_jump_back(platform: Platform) -> None:
    platform.tenant, platform.booked = str(uuid4()), []
    platform.set_ahead([POSTGRES], HOUR_S)
    with platform.server.connect(DATABASE) as admin:
        dead = "UPDATE outbox_lanes SET holder = gen_random_uuid(), leased_until = clock_timestamp() + interval '15 s'"
        admin.execute(dead)
    platform.set_ahead([POSTGRES], 0)
    platform.check()


def test_busy_lanes_do_not_delay_a_lane_that_was_leased_before_a_jump_back(platform: Platform) -> None:
    before = len(platform.events())
    with platform.server.connect(DATABASE) as admin, admin.transaction():
        ahead = "UPDATE outbox_lanes SET leased_until = clock_timestamp() + interval '1 hour' WHERE lane = %s"
        admin.execute(ahead, [LANE_LEASED_AHEAD])
        admin.execute(ADD_EVENTS, {"ahead": LANE_LEASED_AHEAD, "busy": EVENTS_PER_BUSY_LANE})
    added = (LANES - 1) * EVENTS_PER_BUSY_LANE + 1
    eventually(lambda: len(platform.events()) == before + added, MAX_WAIT_S)
    lanes = [event["lane"] for event in platform.events()[before:]]
    assert lanes.index(LANE_LEASED_AHEAD) < EVENTS_PER_BUSY_LANE


@pytest.mark.parametrize(("before_s", "after_s"), [(0, HOUR_S), (HOUR_S, 0)], ids=["forward", "back"])
def test_provisioning_waits_as_long_as_configured(platform: Platform, before_s: int, after_s: int) -> None:
    """The task's clock jumps while it waits for a server that doesn't start."""
    with clock.running_clock() as own, task_for(platform.server, DATABASE) as task:
        own.set_ahead(before_s)
        task.environment = {"PGPORT": str(free_port()), "PROVISION_WAIT_S": "3"}
        began = time.monotonic()
        process = task.start(*own.prefix, "sh", str(task.program))
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("server: waiting up to 3 s")
            own.set_ahead(after_s)
            _, errors = process.communicate(timeout=MAX_WAIT_S)
        finally:
            process.kill()
            process.wait()
        assert "waited 3 s: PROVISION_WAIT_S" in errors
        assert time.monotonic() - began > 2  # The task counts whole seconds.

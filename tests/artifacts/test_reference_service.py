"""The reference service meets its contract, with a real PostgreSQL and, if there is one, a real Redis.

There is no broker: Kafka is always unavailable, which the service must tolerate.
"""

from __future__ import annotations

import base64
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from os import urandom
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.artifacts import reference_environment, reference_redis
from tests.artifacts.postgres_server import Server, installations, running_server
from tests.artifacts.provisioning_task import Task, task_for
from tests.artifacts.reference_environment import EnvironmentMissing
from tests.artifacts.reference_gate import Gate, gate
from tests.artifacts.reference_process import (
    ISSUER,
    JWT_SECRET,
    Response,
    Service,
    ServiceEnvironment,
    eventually,
    signed,
    token,
)
from tests.failures import FailureRecord
from tests.full_run import only_in_full_runs
from tests.ports import free_port

EDITOR = "editor"
"""Application name of the sessions of `editor_service`."""

DATABASE = "pti_rdv"
NORTH_TENANT = "11111111-1111-4111-8111-111111111111"
SOUTH_TENANT = "22222222-2222-4222-8222-222222222222"
UNKNOWN_TENANT = "33333333-3333-4333-8333-333333333333"
STARTS_AT = "2031-05-04T09:30:00+02:00"
MAX_STOP_S = 20
PLATFORM_NAME = "reference service"
"""Name of the platform in the failure records."""

CANCELLED_CHECKS = Path(__file__).parent / "cancelled_checks.py"
RELAYS = Path(__file__).parent / "outbox_relays.py"
TENANTS, APPOINTMENTS, EVENTS = 8, 5, 6
"""Copies of the constants in `RELAYS`, which this Python can't import."""

POOL_MAX = 3

pytestmark = only_in_full_runs


@dataclass(frozen=True)
class Stores:
    """Dependencies of the service, each behind a gate."""

    task: Task
    postgres: Gate
    redis: Gate | None


@pytest.fixture(scope="module")
def stores() -> Iterator[Stores]:
    """The newest PostgreSQL on this machine with the service's database, and Redis if there is one."""
    found = installations()
    if not found:
        pytest.skip("PostgreSQL is missing (Linux only): python -m tests.artifacts.postgres_server fetch")
    try:
        reference_environment.python()
    except EnvironmentMissing as reason:
        pytest.skip(f"the reference service's requirements can't be installed here: {reason}")
    with ExitStack() as stack:
        server: Server = stack.enter_context(running_server(found[-1]))
        task = stack.enter_context(task_for(server, DATABASE))
        outcome = task.run()
        assert outcome.status == 0, outcome.errors
        with server.connect() as admin:
            # Provisioning limits the role to one service's replicas. Here, several services and tests share it.
            admin.execute(f"ALTER ROLE {DATABASE}_app CONNECTION LIMIT -1")
        program = reference_redis.program()
        port = stack.enter_context(reference_redis.running_redis(program)) if program else None
        yield Stores(
            task,
            stack.enter_context(gate(server.port)),
            stack.enter_context(gate(port)) if port else None,
        )


@pytest.fixture(scope="module")
def unmigrated(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> ServiceEnvironment:
    """The environment of the rdv service, with the database as provisioned."""
    return ServiceEnvironment(
        tmp_path_factory.mktemp("service"),
        {
            "SERVICE_NAME": "rdv",
            "VERSION": "1.2.3",
            "LOG_LEVEL": "info",
            "DATABASE_HOST": "127.0.0.1",
            "DATABASE_PORT": str(stores.postgres.port),
            "DATABASE_NAME": DATABASE,
            "DATABASE_USER": f"{DATABASE}_app",
            "DATABASE_SSLMODE": "disable",
            "DATABASE_POOL_MAX": str(POOL_MAX),
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(stores.redis.port if stores.redis else free_port()),
            "REDIS_TLS": "false",
            "KAFKA_BROKERS": f"127.0.0.1:{free_port()}",
            "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
            "JWT_ISSUER": ISSUER,
            "JWT_ALGORITHM": "HS256",
            "FAULT_INJECTION": "true",
        },
        {
            "DATABASE_PASSWORD": stores.task.passwords[f"{DATABASE}_app"],
            "REDIS_PASSWORD": reference_redis.PASSWORD,
            "JWT_SECRET": JWT_SECRET,
        },
    )


@pytest.fixture(scope="module")
def migrator(
    unmigrated: ServiceEnvironment, stores: Stores, tmp_path_factory: pytest.TempPathFactory
) -> ServiceEnvironment:
    """The environment of the service's migration: another role and password, and none of the service's own secrets."""
    role = f"{DATABASE}_migrator"
    return ServiceEnvironment(
        tmp_path_factory.mktemp("migrator"),
        unmigrated.environment | {"DATABASE_USER": role},
        {"DATABASE_PASSWORD": stores.task.passwords[role]},
    )


@pytest.fixture(scope="module")
def two_migrations(migrator: ServiceEnvironment) -> list[tuple[int, str]]:
    """Exit status and output of two migrations of the empty database, started together."""
    both = [migrator.start_migration() for _ in range(2)]
    ended = [process.communicate(timeout=60)[0].decode() for process in both]
    return [(process.returncode, output) for process, output in zip(both, ended, strict=True)]


@pytest.fixture(scope="module")
def service_environment(unmigrated: ServiceEnvironment, two_migrations: list[tuple[int, str]]) -> ServiceEnvironment:
    """The environment of the rdv service, with its tables migrated."""
    return unmigrated


@pytest.fixture(scope="module")
def service(service_environment: ServiceEnvironment) -> Iterator[Service]:
    """One service for tests that don't change its state."""
    with service_environment.running() as service:
        eventually(lambda: service.dependencies()["postgres"] == "ok")
        yield service


@pytest.fixture(scope="module")
def editor_service(
    service_environment: ServiceEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service without fault injection, with its secrets as variables; tests only read from it."""
    own = {"FAULT_INJECTION": "false", "PGAPPNAME": EDITOR}
    variables = service_environment.environment | service_environment.secrets | own
    with ServiceEnvironment(tmp_path_factory.mktemp("editor"), variables).running() as service:
        eventually(lambda: service.dependencies()["postgres"] == "ok")
        yield service


@pytest.fixture
def postgres(stores: Stores) -> Iterator[Gate]:
    """The gate of the database, which is opened again after the test."""
    yield stores.postgres
    stores.postgres.close()
    stores.postgres.open()


@pytest.fixture
def redis(stores: Stores) -> Iterator[Gate]:
    """The gate of Redis, which is opened again after the test."""
    if stores.redis is None:
        pytest.skip("redis-server is missing: apt-get install redis-server, or name one in PTI_REDIS_SERVER")
    yield stores.redis
    stores.redis.close()
    stores.redis.open()


def book(service: Service, tenant: str, title: str) -> str:
    """Book an appointment and return its ID."""
    answer = service.request("POST", "/appointments", token(tenant), {"title": title, "starts_at": STARTS_AT})
    assert answer.status == 201, answer.body
    identifier: str = answer.json["id"]
    return identifier


@contextmanager
def metric_increases(service: Service) -> Iterator[dict[str, float]]:
    """Provide a dictionary that receives each changed sample's increase at the end of the block."""
    rise: dict[str, float] = {}
    before = service.metrics()
    yield rise
    after = service.metrics()
    rise |= {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


def request_sample(method: str, status: int, route: str) -> str:
    """Return the sample that counts requests of this kind."""
    labels = f'http_request_method="{method}",http_response_status_code="{status}",http_route="{route}"'
    return f"http_server_request_duration_seconds_count{{{labels}}}"


def titles(service: Service, tenant: str) -> set[str]:
    """Return the titles in the tenant's list."""
    answer = service.get("/appointments", token(tenant))
    assert answer.status == 200, answer.body
    return {appointment["title"] for appointment in answer.json}


# Start


def test_a_start_without_variables_names_all_of_them(stores: Stores, tmp_path: Path) -> None:
    status, output = ServiceEnvironment(tmp_path, {}).run("reference_service", PORT="70000")
    assert status == 2
    message = json.loads(output)["message"]
    for name in ("SERVICE_NAME", "PORT", "DATABASE_PASSWORD_FILE", "REDIS_HOST", "KAFKA_BROKERS", "JWT_SECRET_FILE"):
        assert name in message


@pytest.mark.parametrize(
    ("service", "secret"), [("payment", "STRIPE_WEBHOOK_SECRET"), ("notification", "BREVO_API_KEY")]
)
def test_a_service_without_its_own_secrets_does_not_start(
    unmigrated: ServiceEnvironment, service: str, secret: str
) -> None:
    status, output = unmigrated.run("reference_service", SERVICE_NAME=service, PORT=str(free_port()))
    assert status == 2
    assert secret in json.loads(output)["message"]


def test_secrets_may_be_environment_variables(editor_service: Service) -> None:
    assert editor_service.get("/appointments", token(UNKNOWN_TENANT)).status == 200


def test_the_service_starts_and_stops_without_its_dependencies(unmigrated: ServiceEnvironment) -> None:
    closed_port = str(free_port())
    isolated = replace(
        unmigrated, environment=unmigrated.environment | {"DATABASE_PORT": closed_port, "REDIS_PORT": closed_port}
    )
    with isolated.running() as service:
        answer = service.get("/health")
        assert answer.status == 503
        everything = dict.fromkeys(("postgres", "redis", "kafka"), "unavailable")
        assert answer.json == {"status": "unavailable", "dependencies": everything}
        assert service.get("/health/live").status == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=MAX_STOP_S) == 0


# Migrations


def test_concurrent_migrations_run_one_after_the_other(
    two_migrations: list[tuple[int, str]], migrator: ServiceEnvironment
) -> None:
    assert [status for status, _ in two_migrations] == [0, 0]
    counts = sorted(json.loads(output.splitlines()[-1])["message"] for _, output in two_migrations)
    assert counts[0] == "migrations run: 0"
    assert counts[1] != "migrations run: 0"
    status, output = migrator.run("reference_service.migrate")
    assert (status, json.loads(output)["message"]) == (0, "migrations run: 0")


def test_a_migration_is_retried_after_a_lock_timeout(
    service_environment: ServiceEnvironment, migrator: ServiceEnvironment, stores: Stores
) -> None:
    with stores.task.server.connect(DATABASE) as admin, admin.transaction():
        admin.execute("LOCK TABLE migrations")
        migration = migrator.start_migration()
        assert migration.stdout is not None
        first = json.loads(migration.stdout.readline())
    output, _ = migration.communicate(timeout=60)
    assert first["message"].startswith("another session holds a lock; the migration starts again")
    assert (migration.returncode, json.loads(output.splitlines()[-1])["message"]) == (0, "migrations run: 0")


def test_a_migration_waits_for_an_unavailable_server(
    service_environment: ServiceEnvironment, migrator: ServiceEnvironment, postgres: Gate, failure_record: FailureRecord
) -> None:
    failure_record.begin("PostgreSQL is down when a migration starts", on=PLATFORM_NAME, effect="the migration waits")
    postgres.close()
    migration = migrator.start_migration()
    assert migration.stdout is not None
    first = json.loads(migration.stdout.readline())
    with failure_record.measure_recovery():
        postgres.open()
        output, _ = migration.communicate(timeout=60)
    assert first["message"].startswith("the server is unavailable; the migration starts again")
    assert (migration.returncode, json.loads(output.splitlines()[-1])["message"]) == (0, "migrations run: 0")
    failure_record.set_lost("nothing")


def test_the_audit_of_the_migrated_database_has_no_findings(
    service_environment: ServiceEnvironment, stores: Stores
) -> None:
    with stores.task.connect(DATABASE, f"{DATABASE}_app") as session:
        assert session.execute("SELECT * FROM tenancy.audit()").fetchall() == []
        assert session.execute("SELECT to_regclass('appointments') IS NOT NULL").fetchone() == (True,)


def test_the_application_role_cannot_migrate(service_environment: ServiceEnvironment) -> None:
    status, output = service_environment.run("reference_service.migrate")
    assert status == 1
    assert json.loads(output)["error"] == "InsufficientPrivilege"


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_the_service_does_not_publish_an_api_description(service: Service, path: str) -> None:
    assert service.get(path, token(NORTH_TENANT)).status == 404


# Connections


def test_the_service_opens_at_most_the_configured_connections(service: Service, stores: Stores) -> None:
    """Requests beyond the pool's size wait at most two seconds for a connection, then get 503 with `Retry-After`."""
    connect = stores.task.server.connect
    with connect(DATABASE) as holder, connect() as admin, ThreadPoolExecutor(4 * POOL_MAX) as clients:

        def sessions() -> int:
            others = "SELECT FROM pg_stat_activity WHERE usename = %s AND application_name <> %s"
            return admin.execute(others, [f"{DATABASE}_app", EDITOR]).rowcount

        with holder.transaction():
            holder.execute("LOCK TABLE appointments")
            answers = [clients.submit(service.get, "/appointments", token(NORTH_TENANT)) for _ in range(4 * POOL_MAX)]
            eventually(lambda: sessions() == POOL_MAX)
            eventually(lambda: sum(one.done() for one in answers) >= 3 * POOL_MAX)
            assert sessions() == POOL_MAX
        statuses = [one.result().status for one in answers]
    assert statuses.count(503) >= 3 * POOL_MAX


# Attachments


def test_attachments_do_not_grow_its_memory(service: Service) -> None:
    contents = [urandom(10 << 20) for _ in range(10)]
    paths = [f"/appointments/{book(service, NORTH_TENANT, 'with a scan')}/attachment" for _ in contents]
    before = service.peak_memory_mib()
    with ThreadPoolExecutor(len(contents)) as clients:
        uploads = list(
            clients.map(lambda path, one: service.transfer("PUT", path, token(NORTH_TENANT), one), paths, contents)
        )
        downloads = list(clients.map(lambda path: service.transfer("GET", path, token(NORTH_TENANT)), paths))
    assert uploads == [(204, b"")] * 10
    assert [status for status, _ in downloads] == [200] * 10
    assert [body for _, body in downloads] == contents
    assert service.peak_memory_mib() - before < 50


def test_an_attachment_replaces_the_previous_one(service: Service, stores: Stores) -> None:
    path = f"/appointments/{book(service, NORTH_TENANT, 'with two referrals')}/attachment"
    assert service.transfer("GET", path, token(NORTH_TENANT))[0] == 404
    for content in (urandom(2 << 20), b"", b"a short one"):
        assert service.transfer("PUT", path, token(NORTH_TENANT), content) == (204, b"")
        assert service.transfer("GET", path, token(NORTH_TENANT)) == (200, content)
    assert count_parts(stores, path) == 1


def test_an_upload_that_ends_early_leaves_the_attachment_as_it_was(service: Service, stores: Stores) -> None:
    path = f"/appointments/{book(service, NORTH_TENANT, 'with half a scan')}/attachment"
    assert service.transfer("PUT", path, token(NORTH_TENANT), b"whole") == (204, b"")
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        head = f"PUT {path} HTTP/1.1\r\nHost: rdv\r\nAuthorization: Bearer {token(NORTH_TENANT)}\r\n"
        client.sendall(f"{head}Content-Length: {4 << 20}\r\n\r\n".encode() + urandom(2 << 20))
        eventually(lambda: count_parts(stores, path) > 1)
    eventually(lambda: count_parts(stores, path) == 1)
    assert service.transfer("GET", path, token(NORTH_TENANT)) == (200, b"whole")


def count_parts(stores: Stores, path: str) -> int:
    """Return the number of parts that the database stores for an appointment's attachments."""
    query = "SELECT FROM attachment_parts WHERE appointment_id = %s"
    with stores.task.server.connect(DATABASE) as admin:
        return admin.execute(query, [path.split("/")[2]]).rowcount


# Tenants


def test_two_tenants_never_see_each_others_rows(service: Service) -> None:
    norths, souths = book(service, NORTH_TENANT, "only north's"), book(service, SOUTH_TENANT, "only south's")
    assert "only north's" in titles(service, NORTH_TENANT)
    assert "only south's" not in titles(service, NORTH_TENANT)
    assert "only south's" in titles(service, SOUTH_TENANT)
    assert "only north's" not in titles(service, SOUTH_TENANT)
    assert service.get(f"/appointments/{norths}", token(NORTH_TENANT)).status == 200
    assert service.get(f"/appointments/{norths}", token(SOUTH_TENANT)).status == 404
    for action in ("cancel", "honour"):
        assert service.request("POST", f"/appointments/{souths}/{action}", token(NORTH_TENANT)).status == 404
    assert service.get(f"/appointments/{souths}", token(SOUTH_TENANT)).json["status"] == "booked"


def test_another_tenants_attachment_is_not_found(service: Service) -> None:
    path = f"/appointments/{book(service, NORTH_TENANT, 'with a referral')}/attachment"
    assert service.transfer("PUT", path, token(NORTH_TENANT), b"north's") == (204, b"")
    assert service.transfer("GET", path, token(SOUTH_TENANT))[0] == 404
    assert service.transfer("PUT", path, token(SOUTH_TENANT), b"south's")[0] == 404
    assert service.transfer("GET", path, token(NORTH_TENANT)) == (200, b"north's")


def test_a_tenant_in_the_body_is_ignored(service: Service) -> None:
    body = {"title": "sent by north", "starts_at": STARTS_AT, "tenant_id": SOUTH_TENANT}
    assert service.request("POST", "/appointments", token(NORTH_TENANT), body).json["tenant_id"] == NORTH_TENANT


def unsigned_token() -> str:
    """Return a token with the algorithm `none`."""
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    return f"{header}.{token(NORTH_TENANT).split('.')[1]}."


@pytest.mark.parametrize(
    "given",
    [
        None,
        "no token at all",
        token(NORTH_TENANT, expires_in_s=-5),
        token(NORTH_TENANT, issuer="somebody else"),
        token(NORTH_TENANT, secret="another key, which is long enough too"),
        unsigned_token(),
    ],
    ids=["none", "garbage", "expired", "foreign issuer", "foreign signature", "unsigned"],
)
def test_a_request_without_a_valid_token_is_refused_with_401(service: Service, given: str | None) -> None:
    answer = service.get("/appointments", given)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_the_token_of_an_issuer_whose_clock_is_ahead_is_valid(service: Service) -> None:
    now = int(time.time())
    claims = {"iss": ISSUER, "iat": now + 10, "exp": now + 300, "tenant_id": NORTH_TENANT}
    assert service.get("/appointments", signed(claims)).status == 200


@pytest.mark.parametrize("tenant", [None, "", "north", "' OR true --"])
def test_a_valid_token_without_a_tenant_is_refused_with_403(service: Service, tenant: str | None) -> None:
    assert service.get("/appointments", token(tenant)).status == 403


def test_the_public_path_needs_no_token(service: Service) -> None:
    assert service.get("/public/info").json == {"service": "rdv", "version": "1.2.3"}


# Functions


def test_a_settled_appointment_cannot_be_settled_again(service: Service) -> None:
    with metric_increases(service) as rise:
        cancelled, honoured = book(service, NORTH_TENANT, "to cancel"), book(service, NORTH_TENANT, "to honour")
        assert (
            service.request("POST", f"/appointments/{cancelled}/cancel", token(NORTH_TENANT)).json["status"]
            == "cancelled"
        )
        assert (
            service.request("POST", f"/appointments/{honoured}/honour", token(NORTH_TENANT)).json["status"]
            == "honoured"
        )
        assert service.request("POST", f"/appointments/{cancelled}/honour", token(NORTH_TENANT)).status == 409
    assert rise["pti_appointments_created_total"] == 2
    assert rise["pti_appointments_cancelled_total"] == 1
    assert rise["pti_appointments_honoured_total"] == 1


@pytest.mark.parametrize("title", ["", "x" * 201, "nul \x00 byte"])
def test_a_title_that_the_table_cannot_hold_is_refused(service: Service, title: str) -> None:
    body = {"title": title, "starts_at": STARTS_AT}
    assert service.request("POST", "/appointments", token(NORTH_TENANT), body).status == 422


def test_payments_are_counted(service: Service) -> None:
    def pay(amount: float) -> Response:
        return service.request("POST", "/payments", token(NORTH_TENANT), {"amount_euros": amount})

    with metric_increases(service) as rise:
        assert [pay(amount).status for amount in (25.5, 4.5, 0, -3)] == [201, 201, 402, 402]
    assert rise["pti_payments_succeeded_total"] == 2
    assert rise["pti_payments_failed_total"] == 2
    assert rise["pti_payments_amount_euros_total"] == 30


def test_a_list_comes_from_the_cache_until_it_changes(service: Service, redis: Gate) -> None:
    book(service, NORTH_TENANT, "first")
    answers = [service.get("/appointments", token(NORTH_TENANT)) for _ in range(2)]
    assert [answer.headers["x-cache"] for answer in answers] == ["miss", "hit"]
    assert answers[0].json == answers[1].json
    book(service, NORTH_TENANT, "second")
    after = service.get("/appointments", token(NORTH_TENANT))
    assert after.headers["x-cache"] == "miss"
    assert "second" in {appointment["title"] for appointment in after.json}


# Failing and recovering dependencies


def test_without_a_broker_a_booking_keeps_its_event_in_the_outbox(service: Service, stores: Stores) -> None:
    booked = book(service, NORTH_TENANT, "heard of later")
    assert service.request("POST", f"/appointments/{booked}/cancel", token(NORTH_TENANT)).status == 200
    assert [event["type"] for event in outbox_events(stores, NORTH_TENANT, booked)] == [
        "appointment.created",
        "appointment.cancelled",
    ]
    assert outbox_events(stores, SOUTH_TENANT, booked) == []
    answer = service.get("/health")
    assert (answer.status, answer.json["status"], answer.json["dependencies"]["kafka"]) == (
        200,
        "degraded",
        "unavailable",
    )
    assert service.metrics()['pti_dependency_up{dependency="kafka"}'] == 0
    eventually(lambda: service.metrics()["pti_outbox_events"] >= 2)
    assert service.metrics()["pti_outbox_oldest_age_seconds"] > 0


END_SESSIONS = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{DATABASE}'"  # noqa: S608 - a constant
"""Statement that ends all sessions: existing ones keep their settings, new ones take those of the database."""


def test_a_read_only_database_counts_as_unavailable(
    service: Service, stores: Stores, failure_record: FailureRecord
) -> None:
    """The server behaves like a standby after a failover: lists still work."""
    failure_record.begin("A database is read-only", on=PLATFORM_NAME, effect="503 for bookings; lists work")
    with stores.task.server.connect() as admin:
        admin.execute(f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = on")
        try:
            admin.execute(END_SESSIONS)
            eventually(lambda: service.get("/appointments", token(NORTH_TENANT)).status == 200)
            body = {"title": "refused", "starts_at": STARTS_AT}
            assert service.request("POST", "/appointments", token(NORTH_TENANT), body).status == 503
        finally:
            admin.execute(f"ALTER DATABASE {DATABASE} RESET default_transaction_read_only")
            admin.execute(END_SESSIONS)
    with failure_record.measure_recovery():
        body = {"title": "accepted", "starts_at": STARTS_AT}
        eventually(lambda: service.request("POST", "/appointments", token(NORTH_TENANT), body).status == 201)
    failure_record.set_lost("nothing")


def test_a_booking_that_is_rolled_back_leaves_no_event(
    service: Service, stores: Stores, failure_record: FailureRecord
) -> None:
    """The server is cut off between the two inserts and the commit, as in a failover."""
    failure_record.begin(
        "PostgreSQL closes a connection during a booking", on=PLATFORM_NAME, effect="503 for that booking"
    )
    count = "SELECT (SELECT count(*) FROM appointments), (SELECT count(*) FROM outbox)"
    with stores.task.server.connect(DATABASE) as admin:
        before = admin.execute(count).fetchone()
        with ThreadPoolExecutor(1) as client, stores.task.server.connect(DATABASE) as holder, holder.transaction():
            holder.execute("LOCK TABLE outbox_waiting")
            body = {"title": "cut off", "starts_at": STARTS_AT}
            answer = client.submit(service.request, "POST", "/appointments", token(NORTH_TENANT), body)
            eventually(lambda: end_waiting_sessions(admin) == 1)
            assert answer.result().status == 503
        assert admin.execute(count).fetchone() == before
    failure_record.set_lost("nothing: neither the booking nor its event exists")


def end_waiting_sessions(admin: psycopg.Connection[Any]) -> int:
    """End the sessions of bookings that wait for the lock; return their number."""
    sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    return admin.execute(sessions, ["%INSERT INTO outbox_waiting%"]).rowcount


@pytest.mark.parametrize("mode", ["well", "unsure", "dying"])
def test_relays_share_the_outbox(
    service_environment: ServiceEnvironment, stores: Stores, failure_record: FailureRecord, mode: str
) -> None:
    """No event is lost, an appointment's events arrive in order, and none arrives twice unless a confirmation was
    lost."""
    if mode == "unsure":
        failure_record.begin(
            "Kafka's acknowledgements are lost", on=PLATFORM_NAME, effect="nothing: these events arrive twice"
        )
    if mode == "dying":
        failure_record.begin(
            "A replica dies while it publishes events",
            on=PLATFORM_NAME,
            effect="its events arrive once its lease has expired",
        )
    with stores.task.server.connect(DATABASE) as admin:
        admin.execute("TRUNCATE outbox, outbox_waiting")
    status, output = service_environment.run(str(RELAYS), mode)
    assert status == 0, output
    arrived = [(appointment, number) for appointment, number in json.loads(output.splitlines()[-1])]
    once = list(dict.fromkeys(arrived))
    appointments = {appointment for appointment, _ in once}
    assert len(appointments) == TENANTS * APPOINTMENTS
    for one in appointments:
        assert [number for appointment, number in once if appointment == one] == [*range(EVENTS)]
    if mode == "well":
        assert arrived == once
    if mode == "unsure":
        assert len(arrived) > len(once), "no confirmation was lost"
    failure_record.set_lost(f"nothing: {len(once)} of {TENANTS * APPOINTMENTS * EVENTS} events, in order")


def outbox_events(stores: Stores, tenant: str, appointment: str) -> list[dict[str, Any]]:
    """Return an appointment's events in the outbox, as the application role sees them for a tenant."""
    with stores.task.connect(DATABASE, f"{DATABASE}_app") as session:
        session.execute("SELECT set_config('app.tenant_id', %s, false)", [tenant])
        rows = session.execute("SELECT body FROM outbox WHERE appointment_id = %s ORDER BY position", [appointment])
        return [json.loads(body) for (body,) in rows]


def test_the_service_recovers_when_the_database_is_back(service: Service, postgres: Gate) -> None:
    title = "from before"
    book(service, NORTH_TENANT, title)
    postgres.close()
    eventually(lambda: service.dependencies()["postgres"] == "unavailable")
    body = {"title": "lost", "starts_at": STARTS_AT}
    answer = service.request("POST", "/appointments", token(NORTH_TENANT), body)
    assert (answer.status, answer.json["dependency"]) == (503, "database")
    assert "Traceback" not in answer.body
    assert service.get("/health/live").status == 200
    postgres.open()
    eventually(lambda: service.dependencies()["postgres"] == "ok")
    assert title in titles(service, NORTH_TENANT)


def test_a_restart_of_the_database_fails_no_request(service: Service, postgres: Gate) -> None:
    before = book(service, NORTH_TENANT, "before the restart")
    postgres.close()
    postgres.open()
    assert service.get(f"/appointments/{before}", token(NORTH_TENANT)).status == 200
    book(service, NORTH_TENANT, "after the restart")


def test_a_cancelled_connection_check_keeps_the_tenant(service_environment: ServiceEnvironment) -> None:
    status, output = service_environment.run(str(CANCELLED_CHECKS), NORTH_TENANT)
    assert status == 0, output
    assert output.splitlines()[-1] == f"{NORTH_TENANT} {NORTH_TENANT}"


def test_without_redis_lists_come_from_the_database(service: Service, redis: Gate) -> None:
    eventually(lambda: service.dependencies()["redis"] == "ok")
    book(service, NORTH_TENANT, "kept in the database")
    redis.close()
    eventually(lambda: service.dependencies()["redis"] == "unavailable")
    assert (service.get("/health").status, service.get("/health").json["status"]) == (200, "degraded")
    assert service.metrics()['pti_dependency_up{dependency="redis"}'] == 0
    book(service, NORTH_TENANT, "booked without Redis")
    assert {"kept in the database", "booked without Redis"} <= titles(service, NORTH_TENANT)
    assert service.get("/events", token(NORTH_TENANT)).json == {"count": 0, "by_type": {}}
    redis.open()
    eventually(lambda: service.dependencies()["redis"] == "ok")
    assert service.metrics()['pti_dependency_up{dependency="redis"}'] == 1


def test_a_list_that_redis_kept_through_its_outage_is_not_shown(service: Service, redis: Gate) -> None:
    eventually(lambda: service.dependencies()["redis"] == "ok")
    book(service, NORTH_TENANT, "before the outage")
    eventually(lambda: service.get("/appointments", token(NORTH_TENANT)).headers["x-cache"] == "hit")
    redis.close()
    book(service, NORTH_TENANT, "during the outage")
    redis.open()
    assert "during the outage" in titles(service, NORTH_TENANT)
    eventually(lambda: service.get("/appointments", token(NORTH_TENANT)).headers["x-cache"] == "hit")
    assert "during the outage" in titles(service, NORTH_TENANT)


def test_the_service_works_without_unresponsive_dependencies(
    service_environment: ServiceEnvironment, failure_record: FailureRecord
) -> None:
    """Redis and Kafka accept connections and send nothing, as behind a network that drops packets."""
    failure_record.begin(
        "Redis and Kafka accept connections but never respond", on=PLATFORM_NAME, effect="nothing: events are delayed"
    )
    with silent_server() as port:
        environment = {"REDIS_PORT": str(port), "KAFKA_BROKERS": f"127.0.0.1:{port}"}
        isolated = replace(service_environment, environment=service_environment.environment | environment)
        with isolated.running() as service:
            eventually(lambda: service.get("/health").status == 200)
            book(service, SOUTH_TENANT, "nobody answers")
            assert "nobody answers" in titles(service, SOUTH_TENANT)
            assert service.get("/health").json["status"] == "degraded"
    failure_record.set_lost("nothing")


def test_unresolved_names_are_retried(service_environment: ServiceEnvironment, failure_record: FailureRecord) -> None:
    failure_record.begin(
        "The host names of Redis and Kafka don't resolve", on=PLATFORM_NAME, effect="nothing: events are delayed"
    )
    unresolvable = {"REDIS_HOST": "redis.invalid", "KAFKA_BROKERS": "kafka.invalid:9092"}
    isolated = replace(service_environment, environment=service_environment.environment | unresolvable)
    with isolated.running() as service:
        eventually(lambda: service.get("/health").status == 200)
        assert book(service, SOUTH_TENANT, "nobody is known")
        assert "nobody is known" in titles(service, SOUTH_TENANT)
        assert service.get("/health").json["status"] == "degraded"
    failure_record.set_lost("nothing")


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        yield listener.getsockname()[1]


# Stop


def test_a_stop_lets_requests_in_flight_finish(service_environment: ServiceEnvironment) -> None:
    with service_environment.running() as service:
        answers: list[Response] = []
        call = threading.Thread(
            target=lambda: answers.append(service.get("/faults/slow?seconds=3", token(NORTH_TENANT)))
        )
        call.start()
        eventually(lambda: service.metrics()["http_server_active_requests"] == 1)
        service.process.send_signal(signal.SIGTERM)
        assert service.get("/health/live").status == 200
        late = service.get("/public/info")
        assert (late.status, late.headers["connection"]) == (200, "close")
        assert service.process.wait(timeout=MAX_STOP_S) == 0
        call.join()
        assert [answer.status for answer in answers] == [200]
        with pytest.raises(ConnectionRefusedError):
            service.get("/health/live")


# Logs and metrics


COUNTERS = (
    "pti_appointments_created_total",
    "pti_appointments_cancelled_total",
    "pti_appointments_honoured_total",
    "pti_payments_succeeded_total",
    "pti_payments_failed_total",
    "pti_payments_amount_euros_total",
)


def test_every_counter_exists_from_the_start(editor_service: Service) -> None:
    samples = editor_service.metrics()
    assert {name: samples.get(name) for name in COUNTERS} == dict.fromkeys(COUNTERS, 0)
    assert samples["http_server_active_requests"] == 0


def test_requests_are_counted_by_route(service: Service) -> None:
    with metric_increases(service) as rise:
        identifier = book(service, NORTH_TENANT, "counted")
        service.get(f"/appointments/{identifier}", token(NORTH_TENANT))
        service.get(f"/no/such/path/{identifier}")
    assert rise[request_sample("POST", 201, "/appointments")] == 1
    assert rise[request_sample("GET", 200, "/appointments/{identifier}")] == 1
    assert rise[request_sample("GET", 404, "none")] == 1
    exposed = service.get("/metrics").body
    assert identifier not in exposed
    assert NORTH_TENANT not in exposed


def test_probes_are_not_counted(service: Service) -> None:
    with metric_increases(service) as rise:
        for path in ("/health", "/health/live", "/metrics"):
            service.get(path)
    assert [sample for sample in rise if sample.startswith("http_server")] == []


def test_the_histogram_has_the_buckets_of_the_alerts(service: Service) -> None:
    service.get("/public/info")
    sample = request_sample("GET", 200, "/public/info").replace("_count{", "_bucket{").removesuffix("}")
    edges = {name.split('le="')[1].removesuffix('"}') for name in service.metrics() if name.startswith(sample)}
    assert edges == {"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf"}


def test_a_request_can_be_traced_by_its_correlation_id(service: Service) -> None:
    answer = service.request("GET", "/appointments", token(NORTH_TENANT), X_Correlation_ID="followed-1")
    assert answer.headers["x-correlation-id"] == "followed-1"
    line = eventually(lambda: [line for line in service.log_entries() if line.get("correlation_id") == "followed-1"])[
        -1
    ]
    assert (line["service"], line["route"], line["status"]) == ("rdv", "/appointments", 200)


def test_an_unsafe_correlation_id_is_replaced(service: Service) -> None:
    answer = service.request("GET", "/public/info", X_Correlation_ID='"}, {"forged": "line')
    assert "forged" not in answer.headers["x-correlation-id"]
    assert len(answer.headers["x-correlation-id"]) == 36


def test_the_log_holds_neither_secrets_nor_bodies(service: Service, service_environment: ServiceEnvironment) -> None:
    caller = token(NORTH_TENANT)
    body = {"title": "the patient's own business", "starts_at": STARTS_AT}
    assert service.request("POST", "/appointments", caller, body).status == 201
    assert service.get("/faults/error", caller).status == 500
    eventually(lambda: [line for line in service.log_entries() if line.get("error") == "RuntimeError"])
    text = service.log.read_text()
    for secret in (*service_environment.secrets.values(), caller, "own business"):
        assert secret not in text


def test_an_unexpected_error_shows_no_details(service: Service) -> None:
    answer = service.get("/faults/error", token(NORTH_TENANT))
    assert (answer.status, answer.json) == (500, {"detail": "internal error"})


def test_fault_routes_exist_in_tests_only(editor_service: Service) -> None:
    assert editor_service.get("/faults/error", token(NORTH_TENANT)).status == 404

"""What a service requests: its own database, its own secrets, the stores, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from settings.catalog import SERVICES, ServiceSpec
from tests.unit.conftest import FULL_DOCKER, PROVIDER_SECRETS
from tests.unit.platform_recording import CLUSTER, RecordedPlatform, RecordPlatform
from workloads import INTERNET, Autoscaling, Endpoint, ExternalEndpoint, HttpGet, Task

SECRETS = "/run/secrets/service"
PROVIDER_VARIABLES = {
    "payment": {"STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"},
    "notification": {"TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "BREVO_API_KEY"},
}
MANAGED: Mapping[str, Any] = {
    "services": {"deploy": ["user"]},
    "postgres": {"mode": "external", "external": {"host": "db.example.com", "port": 6432, "sslMode": "verify-full"}},
    "redis": {"mode": "external", "external": {"host": "redis.example.com", "port": 6380}},
    "kafka": {
        "mode": "external",
        "external": {
            "bootstrapServers": ["k1.example.com:9093", "k2.example.com:9094"],
            "securityProtocol": "SASL_SSL",
            "username": "pti",
        },
    },
}
MANAGED_SECRETS = {"postgresPassword": "p", "redisPassword": "r", "kafkaPassword": "k"}

each_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)


@pytest.fixture
def full(record_platform: RecordPlatform) -> RecordedPlatform:
    """A stack with all services and well-known credentials."""
    return record_platform(FULL_DOCKER)


@pytest.fixture
def managed(record_platform: RecordPlatform) -> RecordedPlatform:
    """A stack with externally managed stores."""
    return record_platform(MANAGED, MANAGED_SECRETS)


@each_service
def test_a_service_has_the_secrets_it_uses_and_no_others(
    record_platform: RecordPlatform, full: RecordedPlatform, service: ServiceSpec
) -> None:
    always = {"DATABASE_PASSWORD", "JWT_SECRET", *PROVIDER_VARIABLES.get(service.name, set())}
    assert full.files[f"{service.name}/secrets"].keys() == always
    generated = record_platform({"services": {"deploy": "all"}}, PROVIDER_SECRETS)
    assert generated.files[f"{service.name}/secrets"].keys() == {*always, "REDIS_PASSWORD"}


@each_service
def test_a_service_only_connects_to_its_own_database(full: RecordedPlatform, service: ServiceSpec) -> None:
    variables = full.workloads[service.name].environment
    assert variables["DATABASE_NAME"] == f"pti_{service.name}"
    assert variables["DATABASE_USER"] == f"pti_{service.name}_app"
    assert full.files[f"{service.name}/secrets"]["DATABASE_PASSWORD"] == f"pti_{service.name}_app"


@each_service
def test_a_secret_is_a_file_that_a_variable_names(full: RecordedPlatform, service: ServiceSpec) -> None:
    workload, files = full.workloads[service.name], full.files[f"{service.name}/secrets"]
    named = {name: path for name, path in workload.environment.items() if name.endswith("_FILE")}
    assert named == {f"{name}_FILE": f"{SECRETS}/{name}" for name in files}
    assert workload.environment.keys().isdisjoint(files)
    assert [one.directory for one in workload.file_sets] == [SECRETS]


def test_a_service_gets_every_variable_of_the_contract(full: RecordedPlatform) -> None:
    variables = {name: value for name, value in full.workloads["rdv"].environment.items() if not name.endswith("_FILE")}
    assert variables == {
        "SERVICE_NAME": "rdv",
        "PORT": "4002",
        "LOG_LEVEL": "info",
        "DATABASE_HOST": "postgres",
        "DATABASE_PORT": "5432",
        "DATABASE_NAME": "pti_rdv",
        "DATABASE_USER": "pti_rdv_app",
        "DATABASE_SSLMODE": "disable",
        "DATABASE_POOL_MAX": "5",
        "REDIS_HOST": "redis",
        "REDIS_PORT": "6379",
        "REDIS_TLS": "false",
        "KAFKA_BROKERS": "kafka:19092",
        "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
        "JWT_ISSUER": "pti-calendar",
        "JWT_ALGORITHM": "HS256",
    }


def test_only_services_with_a_third_party_reach_the_internet(full: RecordedPlatform) -> None:
    outward = {
        name
        for name, one in full.workloads.items()
        if any(isinstance(call, ExternalEndpoint) for call in one.connects_to)
    }
    assert outward == {"payment", "notification"}
    assert INTERNET in full.workloads["payment"].connects_to


@each_service
def test_a_service_connects_to_the_stores_and_starts_after_them_and_its_migrations(
    full: RecordedPlatform, service: ServiceSpec
) -> None:
    workload = full.workloads[service.name]
    callees = {call.workload: call.port for call in workload.connects_to if isinstance(call, Endpoint)}
    assert callees == {"postgres": 5432, "redis": 6379, "kafka": 19092}
    assert {*workload.depends_on} == {"databases", "redis", "kafka", f"{service.name}-migrations"}


@each_service
def test_readiness_checks_the_service_and_liveness_only_the_process(
    full: RecordedPlatform, service: ServiceSpec
) -> None:
    workload = full.workloads[service.name]
    assert workload.readiness is not None
    assert workload.liveness is not None
    assert workload.readiness.check == HttpGet(port=service.port, path="/health")
    assert workload.liveness.check == HttpGet(port=service.port, path="/health/live")
    assert [(metrics.port, metrics.path) for metrics in workload.metrics] == [(service.port, "/metrics")]


@each_service
def test_a_service_publishes_no_port_and_only_writes_to_scratch(full: RecordedPlatform, service: ServiceSpec) -> None:
    workload = full.workloads[service.name]
    assert [(port.number, port.publish) for port in workload.ports] == [(service.port, None)]
    assert [one.path for one in workload.scratch] == ["/tmp"]  # noqa: S108 - a mount of its own
    assert workload.read_only_root
    assert workload.user == 10001


@each_service
def test_migrations_are_a_task_with_only_the_migrators_password(full: RecordedPlatform, service: ServiceSpec) -> None:
    task = full.workloads[f"{service.name}-migrations"]
    assert (type(task), task.command) == (Task, ("npm", "run", "migrate"))
    assert task.image == full.workloads[service.name].image
    assert task.environment["DATABASE_USER"] == f"pti_{service.name}_migrator"
    assert full.files[f"{task.name}/secrets"] == {"DATABASE_PASSWORD": f"pti_{service.name}_migrator"}
    assert (task.depends_on, task.connects_to) == (("databases",), (Endpoint("postgres", 5432),))


def test_without_a_command_there_is_no_migration(record_platform: RecordPlatform) -> None:
    platform = record_platform({"credentials": "well-known", "services": {"deploy": ["user"]}})
    assert "user-migrations" not in platform.workloads
    assert "user-migrations" not in platform.workloads["user"].depends_on


def test_only_the_configured_services_are_deployed(record_platform: RecordPlatform) -> None:
    names = {one.name for one in SERVICES}
    assert names & record_platform({"services": {"deploy": ["user", "audit"]}}).workloads.keys() == {"user", "audit"}
    assert names & record_platform({}).workloads.keys() == set()


def test_a_local_service_is_not_deployed(record_platform: RecordPlatform) -> None:
    services = {"deploy": ["user", "rdv"], "local": ["rdv"], "migrationCommand": ["migrate"]}
    workloads = record_platform({"services": services, "gateway": {"enabled": True}}).workloads
    assert "user" in workloads
    assert workloads.keys().isdisjoint({"rdv", "rdv-migrations"})


def test_additional_variables_reach_service_and_migrations(record_platform: RecordPlatform) -> None:
    services = {"deploy": ["user"], "migrationCommand": ["migrate"], "environment": {"LOG_LEVEL": "debug", "A": "1"}}
    workloads = record_platform({"services": services}).workloads
    for name in ("user", "user-migrations"):
        environment = workloads[name].environment
        assert (environment["LOG_LEVEL"], environment["A"], environment["SERVICE_NAME"]) == ("debug", "1", "user")


def test_a_service_has_its_configured_size(record_platform: RecordPlatform) -> None:
    services = {
        "deploy": ["user", "rdv"],
        "replicas": 3,
        "memoryMib": 300,
        "cpuRequest": 0.4,
        "overrides": {"rdv": {"scaling": {"minReplicas": 2, "maxReplicas": 8, "cpuPercent": 60}, "image": "rdv:2"}},
    }
    postgres = {"maxConnections": 300, "memoryMib": 2048}
    workloads = record_platform({**CLUSTER, "postgres": postgres, "services": services}).workloads
    user, rdv = workloads["user"], workloads["rdv"]
    assert (user.replicas, user.autoscaling, user.memory_mib, user.cpu_request) == (3, None, 300, 0.4)
    assert (rdv.image, rdv.autoscaling) == ("rdv:2", Autoscaling(minimum=2, maximum=8, cpu_percent=60))


def test_managed_stores_are_reached_with_their_address_and_security(managed: RecordedPlatform) -> None:
    environment = managed.workloads["user"].environment
    assert (environment["DATABASE_HOST"], environment["DATABASE_PORT"]) == ("db.example.com", "6432")
    assert environment["DATABASE_SSLMODE"] == "verify-full"
    assert (environment["REDIS_HOST"], environment["REDIS_PORT"], environment["REDIS_TLS"]) == (
        "redis.example.com",
        "6380",
        "true",
    )
    assert environment["KAFKA_BROKERS"] == "k1.example.com:9093,k2.example.com:9094"
    assert (environment["KAFKA_SECURITY_PROTOCOL"], environment["KAFKA_USERNAME"]) == ("SASL_SSL", "pti")
    files = managed.files["user/secrets"]
    assert (files["REDIS_PASSWORD"], files["KAFKA_PASSWORD"]) == ("r", "k")


def test_a_service_waits_for_its_database_but_not_for_managed_stores(managed: RecordedPlatform) -> None:
    workload = managed.workloads["user"]
    assert workload.depends_on == ("databases",)
    assert {str(call) for call in workload.connects_to} == {
        "db.example.com:6432",
        "redis.example.com:6380",
        "k1.example.com:9093",
        "k2.example.com:9094",
    }

"""Connection limits of PostgreSQL's roles, and that the server's limit covers their sum."""

from __future__ import annotations

from typing import Any

import pytest

from settings.catalog import SERVICES
from settings.postgres_connections import application_role_limit, required_connections
from tests.unit.mistakes import assert_refused, parsed, refused_keys
from tests.unit.platform_recording import CLUSTER, RecordPlatform

OTHER_CONNECTIONS = 7 * 2 + 5 + 10 + 5
"""Connections for migrators, monitoring, backup and operators."""


def connection_limits(platform: Any) -> dict[str, int]:
    """Map each service to its application role's connection limit, as the databases task reads it."""
    lines = platform.files["databases/table"]["databases"].splitlines()
    return {service: int(connections) for service, _, connections in map(str.split, lines)}


def test_the_limit_of_a_role_covers_all_replicas_and_two_more(record_platform: RecordPlatform) -> None:
    services = {
        "replicas": 2,
        "databasePoolMax": 3,
        "overrides": {"rdv": {"databasePoolMax": 7}, "user": {"scaling": {"minReplicas": 1, "maxReplicas": 6}}},
    }
    found = connection_limits(record_platform({**CLUSTER, "services": services}))
    assert found == {one.name: 3 * (2 + 2) for one in SERVICES} | {"rdv": 7 * 4, "user": 3 * (6 + 2)}


def test_the_service_gets_its_pool_size(record_platform: RecordPlatform) -> None:
    platform = record_platform(
        {"services": {"deploy": ["user", "rdv"], "databasePoolMax": 3, "overrides": {"rdv": {"databasePoolMax": 2}}}},
    )
    pool_sizes = {name: platform.workloads[name].environment["DATABASE_POOL_MAX"] for name in ("user", "rdv")}
    assert pool_sizes == {"user": "3", "rdv": "2"}
    assert [platform.outputs["postgres"]["databases"][name]["pool_max"] for name in ("user", "rdv")] == [3, 2]


def test_the_defaults_fit_with_one_and_the_prod_stack_with_two_replicas() -> None:
    assert required_connections(parsed({}).services) == 7 * 3 * 5 + OTHER_CONNECTIONS <= 150
    two = parsed({**CLUSTER, "services": {"replicas": 2}, "postgres": {"maxConnections": 200, "memoryMib": 2048}})
    assert required_connections(two.services) == 7 * 4 * 5 + OTHER_CONNECTIONS <= 200


@pytest.mark.parametrize(
    ("services", "sum_of_services"),
    [
        ({"replicas": 6, "databasePoolMax": 10}, 7 * 8 * 10),
        ({"scaling": {"maxReplicas": 6}}, 7 * 8 * 5),
        ({"overrides": {"audit": {"databasePoolMax": 50}}}, 6 * 3 * 5 + 3 * 50),
    ],
    ids=["many replicas", "scaled", "one large pool"],
)
def test_pools_that_cannot_fit_are_refused(services: dict[str, Any], sum_of_services: int) -> None:
    total = sum_of_services + OTHER_CONNECTIONS
    rule = (f"lower than the {total} connections", f" {sum_of_services} for the services ", f" {total} (or more)")
    assert_refused(refused_keys({**CLUSTER, "services": services}), {"postgres.maxConnections": rule})

    fitting = {"maxConnections": sum_of_services + OTHER_CONNECTIONS, "memoryMib": 8192}
    settings = parsed({**CLUSTER, "services": services, "postgres": fitting})
    assert sum(application_role_limit(settings.services, one) for one in SERVICES) == sum_of_services


def test_the_provisioning_task_checks_an_external_server(record_platform: RecordPlatform) -> None:
    external = {"postgres": {"mode": "external", "external": {"host": "db.example.com"}}}
    platform = record_platform({**external, "services": {"databasePoolMax": 1000}}, {"postgresPassword": "p"})
    assert platform.workloads["databases"].environment["PROVISION_REQUIRE_CONNECTIONS"] == "true"
    assert "PROVISION_REQUIRE_CONNECTIONS" not in record_platform({}).workloads["databases"].environment


def test_connections_are_reserved_for_operators_monitor_and_backup(record_platform: RecordPlatform) -> None:
    server, task = (record_platform({}).workloads[name] for name in ("postgres", "databases"))
    assert {"superuser_reserved_connections=5", "reserved_connections=15"} <= {*server.arguments}
    limits = {name: task.environment[f"PROVISION_{name}_CONNECTIONS"] for name in ("MIGRATOR", "MONITOR", "BACKUP")}
    assert limits == {"MIGRATOR": "2", "MONITOR": "5", "BACKUP": "10"}


def test_the_session_of_a_lost_client_ends_within_a_minute(record_platform: RecordPlatform) -> None:
    found = dict(one.split("=", 1) for one in record_platform({}).workloads["postgres"].arguments if "=" in one)
    idle, interval = (int(found[f"tcp_keepalives_{name}"].removesuffix("s")) for name in ("idle", "interval"))
    assert idle + interval * int(found["tcp_keepalives_count"]) <= 60
    assert int(found["tcp_user_timeout"].removesuffix("s")) <= 60
    assert found["client_connection_check_interval"] == "5s"


@pytest.mark.parametrize(("storage_gib", "wal"), [(1, 102), (10, 1024), (500, 1024)])
def test_everything_besides_data_is_limited_by_the_volumes_size(
    record_platform: RecordPlatform, storage_gib: int, wal: int
) -> None:
    server = record_platform({"postgres": {"storageGib": storage_gib}}).workloads["postgres"]
    found = dict(one.split("=", 1) for one in server.arguments if "=" in one)
    mib = {name: int(found[name].removesuffix("MB")) for name in ("max_wal_size", "max_slot_wal_keep_size")}
    assert mib["max_wal_size"] == wal
    assert mib["max_wal_size"] + mib["max_slot_wal_keep_size"] <= 0.31 * storage_gib * 1024
    assert int(found["temp_file_limit"].removesuffix("MB")) <= 0.1 * storage_gib * 1024

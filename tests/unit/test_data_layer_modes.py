"""The stores in each mode: which workloads run, and how the databases are created."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest

from settings.catalog import SERVICES
from tests.unit.platform_recording import CLUSTER, RecordedPlatform, RecordPlatform
from workloads import Endpoint, ExternalEndpoint, StatefulService, Task

EXTERNAL_POSTGRES: Mapping[str, Any] = {
    "mode": "external",
    "image": "postgres:17.2",
    "external": {"host": "db.example.com", "port": 6432, "admin": "dba", "cidrs": ["10.1.0.0/16"]},
}
THREE_BROKERS: Mapping[str, Any] = {"mode": "kraft", "brokers": 3, "storageGib": 50}


def properties(platform: RecordedPlatform) -> dict[str, str]:
    """Return the broker's properties."""
    lines = platform.files["kafka/configuration"]["server.properties"].splitlines()
    return dict(line.split("=", 1) for line in lines)


class TestExternalPostgres:
    @pytest.fixture
    def platform(self, record_platform: RecordPlatform) -> RecordedPlatform:
        return record_platform({"postgres": EXTERNAL_POSTGRES}, {"postgresPassword": "hunter2"})

    def test_no_server_is_deployed(self, platform: RecordedPlatform) -> None:
        assert "postgres" not in platform.workloads

    def test_the_databases_are_created_on_the_external_server(self, platform: RecordedPlatform) -> None:
        task = platform.workloads["databases"]
        assert (type(task), task.image, task.depends_on) == (Task, "postgres:17.2", ())
        environment = task.environment
        assert (environment["PGHOST"], environment["PGPORT"], environment["PGUSER"]) == (
            "db.example.com",
            "6432",
            "dba",
        )
        assert environment["PGSSLMODE"] == "require"
        assert "PGSSLROOTCERT" not in environment
        assert task.connects_to == (ExternalEndpoint("db.example.com", 6432, ("10.1.0.0/16",)),)
        assert platform.files["databases/admin"] == {"password": "hunter2"}

    def test_verify_full_checks_the_host_name_against_the_system_cas(self, record_platform: RecordPlatform) -> None:
        external = {**EXTERNAL_POSTGRES["external"], "sslMode": "verify-full"}
        platform = record_platform(
            {"postgres": {**EXTERNAL_POSTGRES, "external": external}}, {"postgresPassword": "hunter2"}
        )
        environment = platform.workloads["databases"].environment
        assert (environment["PGSSLMODE"], environment["PGSSLROOTCERT"]) == ("verify-full", "system")

    def test_the_outputs_have_the_address_of_the_server(self, platform: RecordedPlatform) -> None:
        postgres = platform.outputs["postgres"]
        assert (postgres["host"], postgres["port"]) == ("db.example.com", 6432)
        assert (postgres["admin_role"], postgres["ssl_mode"]) == ("dba", "require")
        assert platform.outputs["credentials"]["postgres"]["dba"] == "hunter2"


class TestCloudNativePg:
    @pytest.fixture
    def platform(self, record_platform: RecordPlatform) -> RecordedPlatform:
        postgres = {"mode": "cloudnativepg", "memoryMib": 2048, "storageGib": 40}
        return record_platform(
            {**CLUSTER, "postgres": {**postgres, "cloudnativepg": {"instances": 3}}, "services": {"deploy": ["user"]}}
        )

    def test_the_operator_runs_the_servers(self, platform: RecordedPlatform) -> None:
        (cluster,) = platform.postgres_clusters
        assert (cluster.name, cluster.instances, cluster.size_gib, cluster.memory_mib) == ("postgres", 3, 40, 2048)
        # A quarter of the memory that remains after the operator's own process.
        assert (cluster.parameters["shared_buffers"], cluster.parameters["max_connections"]) == ("480MB", "150")
        assert cluster.operator_namespace == "cnpg-system"
        assert "postgres" not in platform.workloads

    def test_provisioning_and_services_connect_to_its_primary_over_tls(self, platform: RecordedPlatform) -> None:
        primary = Endpoint("postgres", 5432, alias="postgres-rw")
        databases, user = platform.workloads["databases"], platform.workloads["user"]
        assert databases.connects_to == (primary,)
        assert primary in user.connects_to
        assert (databases.environment["PGHOST"], databases.environment["PGSSLMODE"]) == ("postgres-rw", "require")
        assert (user.environment["DATABASE_HOST"], user.environment["DATABASE_SSLMODE"]) == ("postgres-rw", "require")
        assert databases.depends_on == ("postgres",)

    def test_the_task_waits_for_the_operator_to_set_the_password(
        self, platform: RecordedPlatform, record_platform: RecordPlatform
    ) -> None:
        waits = "PROVISION_LOGIN_WAIT_S"
        assert platform.workloads["databases"].environment[waits] == "60"
        assert waits not in record_platform({}).workloads["databases"].environment


class TestOwnPostgres:
    def test_provisioning_waits_for_the_server_and_connects_without_tls(self, record_platform: RecordPlatform) -> None:
        platform = record_platform({})
        task = platform.workloads["databases"]
        assert (task.depends_on, task.connects_to) == (("postgres",), (Endpoint("postgres", 5432),))
        assert (task.environment["PGUSER"], task.environment["PGSSLMODE"]) == ("postgres", "disable")
        assert platform.outputs["postgres"]["ssl_mode"] == "disable"

    @pytest.mark.parametrize("stack", [{}, {"services": {"deploy": ["user"]}}], ids=["no service", "one service"])
    def test_every_service_has_a_database_even_if_not_deployed(
        self, record_platform: RecordPlatform, stack: dict[str, Any]
    ) -> None:
        table = record_platform(stack).files["databases/table"]["databases"]
        assert [line.split()[:2] for line in table.splitlines()] == [[one.name, one.database] for one in SERVICES]

    def test_the_volume_of_the_server_has_the_configured_size(self, record_platform: RecordPlatform) -> None:
        (volume,) = record_platform({"postgres": {"storageGib": 77}}).workloads["postgres"].volumes
        assert (volume.name, volume.size_gib) == ("postgres-data", 77)


class TestExternalRedis:
    def test_no_redis_is_deployed_and_the_outputs_have_its_address(self, record_platform: RecordPlatform) -> None:
        redis = {"mode": "external", "external": {"host": "redis.example.com", "port": 6380, "cidrs": ["10.2.0.0/16"]}}
        platform = record_platform({"redis": redis, "services": {"deploy": ["user"]}}, {"redisPassword": "hunter2"})
        assert "redis" not in platform.workloads
        assert ExternalEndpoint("redis.example.com", 6380, ("10.2.0.0/16",)) in platform.workloads["user"].connects_to
        assert platform.outputs["redis"] == {"host": "redis.example.com", "port": 6380, "tls": True}
        assert platform.outputs["credentials"]["redis"] == "hunter2"


class TestExternalKafka:
    def test_neither_broker_nor_zookeeper_is_deployed(self, record_platform: RecordPlatform) -> None:
        external = {"bootstrapServers": ["k1.example.com:9093", "k2.example.com:9093"]}
        platform = record_platform({"kafka": {"mode": "external", "external": external}})
        assert platform.workloads.keys().isdisjoint({"kafka", "zookeeper"})
        kafka = platform.outputs["kafka"]
        assert kafka["bootstrap_servers"] == "k1.example.com:9093,k2.example.com:9093"
        assert kafka["security_protocol"] == "SSL"
        assert platform.outputs["credentials"].get("kafka") is None

    def test_a_kafka_user_requires_its_password(self, record_platform: RecordPlatform) -> None:
        external = {"bootstrapServers": ["k:9093"], "securityProtocol": "SASL_SSL", "username": "pti"}
        outputs = record_platform(
            {"kafka": {"mode": "external", "external": external}}, {"kafkaPassword": "hunter2"}
        ).outputs
        assert (outputs["kafka"]["username"], outputs["credentials"]["kafka"]) == ("pti", "hunter2")


class TestThreeBrokers:
    @pytest.fixture
    def platform(self, record_platform: RecordPlatform) -> RecordedPlatform:
        return record_platform({**CLUSTER, "kafka": THREE_BROKERS})

    def test_three_brokers_have_a_volume_each_and_no_zookeeper(self, platform: RecordedPlatform) -> None:
        kafka = platform.workloads["kafka"]
        assert (type(kafka), kafka.replicas, kafka.depends_on, kafka.connects_to) == (StatefulService, 3, (), ())
        assert [(one.name, one.size_gib) for one in kafka.volumes] == [("kafka-kraft-data", 50)]
        assert [(one.key, one.value) for one in kafka.volumes[0].fixed if one.key == "kafka.brokers"] == [
            ("kafka.brokers", "3")
        ]
        assert "zookeeper" not in platform.workloads

    def test_every_event_has_three_replicas_and_two_must_acknowledge_it(self, platform: RecordedPlatform) -> None:
        found = properties(platform)
        copies = ("default", "offsets.topic", "transaction.state.log")
        assert {found[f"{one}.replication.factor"] for one in copies} == {"3"}
        assert found["min.insync.replicas"] == found["transaction.state.log.min.isr"] == "2"

    def test_brokers_reach_each_other_by_their_peer_names(self, platform: RecordedPlatform) -> None:
        kafka, found = platform.workloads["kafka"], properties(platform)
        assert found["controller.quorum.voters"].split(",") == [
            "1@kafka-0.kafka-peers:9093",
            "2@kafka-1.kafka-peers:9093",
            "3@kafka-2.kafka-peers:9093",
        ]
        assert found["advertised.listeners"] == "INTERNAL://kafka-@ordinal@.kafka-peers:19092"
        assert found["node.id"] == "@node@"
        assert {*kafka.peer_ports} == {19092, 9093}
        assert {port.number for port in kafka.ports} == {19092, 9093}
        assert [port.name for port in kafka.ports if port.publish] == []

    def test_a_broker_without_data_waits_for_the_first_broker(self, platform: RecordedPlatform) -> None:
        environment = platform.workloads["kafka"].environment
        assert (environment["BROKERS"], environment["PEERS"]) == ("3", "kafka-peers")

    def test_the_outputs_name_the_listener_of_the_platform(self, platform: RecordedPlatform) -> None:
        assert platform.outputs["kafka"]["bootstrap_servers"] == "kafka:19092"


class TestOneBroker:
    @pytest.mark.parametrize("mode", ["kraft", "zookeeper"])
    def test_operators_have_a_separate_listener(self, record_platform: RecordPlatform, mode: str) -> None:
        platform = record_platform({"kafka": {"mode": mode, "port": 19999}})
        found = properties(platform)
        assert "EXTERNAL://127.0.0.1:19999" in found["advertised.listeners"]
        assert "INTERNAL://kafka:19092" in found["advertised.listeners"]
        assert platform.outputs["kafka"]["bootstrap_servers"] == "127.0.0.1:19999"
        assert {found["default.replication.factor"], found["min.insync.replicas"]} == {"1"}
        assert ("zookeeper" in platform.workloads) is (mode == "zookeeper")

    def test_a_single_brokers_quorum_is_itself_on_loopback(self, record_platform: RecordPlatform) -> None:
        found = properties(record_platform({"kafka": {"mode": "kraft"}}))
        assert found["controller.quorum.voters"] == "1@localhost:9093"
        assert "CONTROLLER://localhost:9093" in found["listeners"]

    @pytest.mark.parametrize(
        ("mode", "name"),
        [("kraft", "initial.broker.registration.timeout.ms"), ("zookeeper", "zookeeper.connection.timeout.ms")],
    )
    def test_a_broker_waits_up_to_a_day_for_its_dependencies(
        self, record_platform: RecordPlatform, mode: str, name: str
    ) -> None:
        assert properties(record_platform({"kafka": {"mode": mode}}))[name] == "86400000"

    def test_each_mode_has_its_own_volume(self, record_platform: RecordPlatform) -> None:
        names = {
            record_platform({"kafka": {"mode": mode}}).workloads["kafka"].volumes[0].name
            for mode in ("kraft", "zookeeper")
        }
        assert len(names) == 2


class TestDataBelowTheMount:
    """The root of an ext4 file system contains `lost+found`, which a Kafka broker mistakes for a partition."""

    @pytest.mark.parametrize("mode", ["kraft", "zookeeper"])
    def test_a_broker_stores_its_data_below_the_mount(self, record_platform: RecordPlatform, mode: str) -> None:
        platform = record_platform({"kafka": {"mode": mode}})
        (volume,) = platform.workloads["kafka"].volumes
        data = PurePosixPath(properties(platform)["log.dirs"])
        assert data.parent == PurePosixPath(volume.mount)
        # Without this property, the KRaft metadata log uses the same directory.
        assert "metadata.log.dir" not in properties(platform)

    def test_zookeeper_stores_its_data_below_the_mount(self, record_platform: RecordPlatform) -> None:
        platform = record_platform({})
        mounts = {PurePosixPath(volume.mount) for volume in platform.workloads["zookeeper"].volumes}
        lines = platform.files["zookeeper/configuration"]["zoo.cfg"].splitlines()
        found = dict(line.split("=", 1) for line in lines if "=" in line)
        assert {PurePosixPath(found[key]).parent for key in ("dataDir", "dataLogDir")} == mounts


class TestSmallHeap:
    """A broker allocates the log cleaner's buffer from its heap at startup: 128 MiB by default."""

    @pytest.mark.parametrize("heap_mib", [192, 256, 320, 1024, 8192])
    def test_the_log_cleaner_leaves_a_broker_most_of_its_heap(
        self, record_platform: RecordPlatform, heap_mib: int
    ) -> None:
        for kafka in ({"heapMib": heap_mib}, {**THREE_BROKERS, "heapMib": heap_mib}):
            stack = CLUSTER if kafka.get("brokers") else {"credentials": "well-known"}
            buffer_bytes = int(properties(record_platform({**stack, "kafka": kafka}))["log.cleaner.dedupe.buffer.size"])
            assert buffer_bytes <= heap_mib * 1024 * 1024 // 8
            # Kafka's own default is the upper bound here, and 1 MiB the lower bound.
            assert 1024 * 1024 <= buffer_bytes <= 128 * 1024 * 1024

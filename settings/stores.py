"""PostgreSQL, Redis and Kafka: how each is run, or where it is."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from settings import postgres_memory
from settings.base import (
    REMOVE,
    Cidrs,
    Conflict,
    DnsLabel,
    HostName,
    HostPort,
    Image,
    Section,
    SettingsConflict,
    repository_and_tag,
    set_to,
    unused_keys,
)
from settings.postgres_memory import Memory

CPU_REQUEST = "CPU it is promised, in cores: its share when there is not enough for all."
STORAGE = "Size of its volume in GiB; it can grow, not shrink. A Docker volume has the engine's whole disk."
EXTERNAL_CIDRS = "Address ranges it lies in, which network policies then allow; none stands for any public address."

LOG_ROOM = 4
"""Room for Redis' append-only file, in multiples of the data: the old one at its largest, and the new one."""

EVENTS_SHARE = 0.6
"""Of a Kafka volume, what the events may take."""

SMALLEST_PARTITION_MIB = 8
"""A quarter of it is a log segment, which must hold the largest batch of events (1 MiB by default)."""

INSTANCE_MANAGER_MIB = 128
"""Memory of CloudNativePG's instance manager, which runs in the server's container."""

REQUIRED = "is required with the mode 'external'"

BrokerAddress = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?:\d{1,5}$")]


class ExternalPostgres(Section):
    """A PostgreSQL server that the stack doesn't run, for `postgres.mode: external`. It must give us a superuser."""

    host: HostName | None = Field(None, examples=["db.example.com"], description="Host name. Needed in this mode.")
    port: HostPort = Field(5432, description="TCP port.")
    admin: str = Field(
        "postgres",
        min_length=1,
        examples=["postgres"],
        description="Superuser that creates databases, roles and the event trigger that guards tenants; its password "
        "is the secret `postgresPassword`.",
    )
    ssl_mode: Literal["disable", "require", "verify-full"] = Field(
        "require", description="How connections are encrypted, in libpq's words; `verify-full` checks the host name."
    )
    cidrs: Cidrs = Field((), description=EXTERNAL_CIDRS)


class CloudNativePg(Section):
    """PostgreSQL run by the CloudNativePG operator, for `postgres.mode: cloudnativepg`."""

    image: Image = Field(
        "ghcr.io/cloudnative-pg/postgresql:18.1",
        examples=["ghcr.io/cloudnative-pg/postgresql:18.1"],
        description="Operand image, PostgreSQL 17 or newer.",
    )
    instances: int = Field(
        3,
        ge=1,
        le=9,
        description="Servers: one primary, the others its replicas. From 3 on, a commit counts once half of the "
        "replicas have it, and none takes over that may lack one.",
    )
    operator_namespace: DnsLabel = Field(
        "cnpg-system", examples=["cnpg-system"], description="Namespace the operator runs in."
    )


class Postgres(Section):
    """PostgreSQL: one database per service."""

    mode: Literal["statefulset", "cloudnativepg", "external"] = Field(
        "statefulset",
        description="`statefulset`: one server with its volume, which is not highly available; `cloudnativepg`: a "
        "primary and replicas with automatic failover, by an operator that the cluster must have (1.28 or newer); "
        "`external`: a managed server.",
    )
    image: Image = Field(
        "postgres:18.6", examples=["postgres:18.6"], description="Server image, PostgreSQL 17 or newer."
    )
    port: HostPort = Field(5432, description="Host port.")
    memory_mib: int = Field(
        1024,
        ge=512,
        le=1_048_576,
        description="Memory limit in MiB. Caches, work memory and parallel workers follow from it.",
    )
    max_connections: int = Field(
        150,
        ge=20,
        le=10_000,
        description="Connections the server accepts. Each takes memory, and the roles' limits must fit; a change "
        "restarts the server.",
    )
    cpu_request: float = Field(0.1, gt=0, le=64, description=CPU_REQUEST)
    storage_gib: int = Field(10, ge=1, le=65_536, description=STORAGE)
    external: ExternalPostgres = Field(default_factory=ExternalPostgres, description="Used in the mode `external`.")
    cloudnativepg: CloudNativePg = Field(default_factory=CloudNativePg, description="Used in the mode `cloudnativepg`.")

    @property
    def major(self) -> int:
        """The PostgreSQL major version, which names the data directory (18 for `postgres:18.6`)."""
        _, tag = repository_and_tag(self.image)
        return int(re.split(r"\D", tag, maxsplit=1)[0])

    @property
    def memory(self) -> Memory:
        """How the server's memory is divided."""
        return postgres_memory.divided(self.memory_mib, self.max_connections, beside_mib=self._beside_mib)

    @property
    def _beside_mib(self) -> int:
        """Memory of the operator's own process beside the server."""
        return INSTANCE_MANAGER_MIB if self.mode == "cloudnativepg" else 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = {}
        _, tag = repository_and_tag(self.image)
        if not re.match(r"(1[7-9]|[2-9]\d)(\D|$)", tag):
            problem = (
                "has a tag that doesn't begin with a PostgreSQL major version, 17 or newer, after which the data "
                "directory is named"
            )
            found["image"] = Conflict(problem, set_to("postgres:18.6"))
        found |= _mode_sections(self, {"external": "external", "cloudnativepg": "cloudnativepg"})
        if self.mode == "external" and self.external.host is None:
            found["external.host"] = Conflict(REQUIRED, set_to("HOST"))
        # The task that creates the databases runs the client of `image` in every mode.
        found |= _server_settings(self, but={"mode", "image", "external"})
        if self.mode == "cloudnativepg":
            found |= unused_keys(self, ["port"], reason="in the mode 'cloudnativepg'")
        if not postgres_memory.fits(self.memory_mib, self.max_connections, beside_mib=self._beside_mib):
            least = postgres_memory.least_memory_mib(self.max_connections, beside_mib=self._beside_mib)
            problem = f"is too small for {self.max_connections} connections (maxConnections)"
            found["memoryMib"] = Conflict(problem, f"{set_to(f'{least} (or more)')}; or lower maxConnections")
        if found:
            raise SettingsConflict(found)
        return self


class ExternalRedis(Section):
    """A managed Redis server, for `redis.mode: external`."""

    host: HostName | None = Field(None, examples=["redis.example.com"], description="Host name. Needed in this mode.")
    port: HostPort = Field(6379, description="TCP port.")
    tls: bool = Field(True, description="Whether connections are encrypted.")
    cidrs: Cidrs = Field((), description=EXTERNAL_CIDRS)


class Redis(Section):
    """Redis: cache and sessions."""

    mode: Literal["standalone", "external"] = Field(
        "standalone",
        description="`standalone`: one server; `external`: a managed one, its password in the secret `redisPassword`.",
    )
    image: Image = Field("redis:8.10.1", description="Server image.")
    port: HostPort = Field(6379, description="Host port.")
    max_memory_mib: int = Field(
        128,
        ge=8,
        le=262_144,
        description="Data kept at most, in MiB; keys with an expiry are evicted beyond it. The memory limit and the "
        "smallest `storageGib` follow from it: docs/stores.md.",
    )
    cpu_request: float = Field(0.05, gt=0, le=64, description=CPU_REQUEST)
    storage_gib: int = Field(2, ge=1, le=65_536, description=STORAGE)
    external: ExternalRedis = Field(default_factory=ExternalRedis, description="Used in the mode `external`.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = _mode_sections(self, {"external": "external"})
        if self.mode == "external" and self.external.host is None:
            found["external.host"] = Conflict(REQUIRED, set_to("HOST"))
        found |= _server_settings(self, but={"mode", "external"})
        _, tag = repository_and_tag(self.image)
        if re.match(r"[0-6](\D|$)", tag):
            problem = "is older than Redis 7, which first limits the memory of its clients"
            found["image"] = Conflict(problem, set_to("redis:8.10.1"))
        needed_gib = -(-self.max_memory_mib * LOG_ROOM // 1024)
        if self.storage_gib < needed_gib:
            problem = (
                f"is smaller than {LOG_ROOM} times maxMemoryMib ({self.max_memory_mib}), which a rewrite of the "
                "append-only file needs"
            )
            found["storageGib"] = Conflict(problem, set_to(f"{needed_gib} (or more)"))
        if found:
            raise SettingsConflict(found)
        return self


class ZooKeeper(Section):
    """ZooKeeper: Kafka's coordination in the `zookeeper` mode."""

    image: Image = Field("zookeeper:3.9.5", description="Server image.")
    port: HostPort = Field(2181, description="Host port.")
    heap_mib: int = Field(96, ge=64, description="Java heap in MiB.")


class ExternalKafka(Section):
    """A managed Kafka, for `kafka.mode: external`."""

    bootstrap_servers: tuple[BrokerAddress, ...] = Field(
        (),
        strict=False,
        examples=[["kafka-1.example.com:9092"]],
        description="Brokers that clients ask first, each as `host:port`. Needed in this mode.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = Field(
        "SSL", description="How clients connect; with `SASL_SSL` the secret `kafkaPassword` is needed."
    )
    username: str | None = Field(
        None, min_length=1, examples=["pti-calendar"], description="User of `SASL_SSL` (SCRAM-SHA-512)."
    )
    cidrs: Cidrs = Field((), description=EXTERNAL_CIDRS)


class Kafka(Section):
    """Kafka: the event bus."""

    mode: Literal["zookeeper", "kraft", "external"] = Field(
        "zookeeper",
        description="`zookeeper`: as the platform has it today (Kafka 3.9 is the last line with it); "
        "`kraft`: Kafka's own quorum, no ZooKeeper; `external`: a managed one. Each mode has a volume of its own.",
    )
    brokers: Literal[1, 3, 5] = Field(
        1,
        description="Brokers of the `kraft` mode. From 3 on, every event is kept three times and written at least "
        "twice before it counts (replication 3, min.insync 2).",
    )
    image: Image | None = Field(
        None,
        examples=["apache/kafka:3.9.1"],
        description="Broker image; without it `apache/kafka:3.9.1` (zookeeper) or `apache/kafka:4.3.1` (kraft).",
    )
    port: HostPort = Field(9092, description="Host port.")
    heap_mib: int = Field(
        320,
        ge=192,
        description="Java heap in MiB. The memory limit follows from it (docs/stores.md).",
    )
    jvm_options: str = Field(
        "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        examples=["-XX:+UseG1GC -XX:MaxGCPauseMillis=20"],
        description="Options of the Java machine; the default suits a small heap on a laptop, a third less memory.",
    )
    cpu_request: float = Field(0.1, gt=0, le=64, description=CPU_REQUEST)
    storage_gib: int = Field(10, ge=1, le=65_536, description=STORAGE)
    partitions: int = Field(
        6,
        ge=1,
        le=1_000,
        description="Partitions of a topic made on first use: at most so many replicas of a consumer share its events. "
        "A topic that exists keeps its number.",
    )
    topics: int = Field(
        12,
        ge=1,
        le=10_000,
        description="Topics that 60 % of the volume is divided among, each with `partitions` partitions. A partition "
        "that has taken its part loses its oldest events.",
    )
    zookeeper: ZooKeeper = Field(default_factory=ZooKeeper, description="Used in the `zookeeper` mode only.")
    external: ExternalKafka = Field(default_factory=ExternalKafka, description="Used in the mode `external`.")

    @property
    def replicas(self) -> int:
        """Replicas of each partition."""
        return min(3, self.brokers)

    @property
    def partitions_per_broker(self) -> int:
        """Partitions of all topics that one broker holds a replica of."""
        return math.ceil(self.topics * self.partitions * self.replicas / self.brokers)

    @property
    def broker_image(self) -> str:
        """The image to run: the one given, or the newest line that has this mode."""
        return self.image or ("apache/kafka:3.9.1" if self.mode == "zookeeper" else "apache/kafka:4.3.1")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = {}
        repository, tag = repository_and_tag(self.broker_image)
        major = re.match(r"(\d+)\.", tag)
        if self.mode == "zookeeper" and repository.endswith("apache/kafka") and major and int(major[1]) >= 4:
            problem = "is Kafka 4, which has no ZooKeeper mode"
            found["image"] = Conflict(problem, f"{set_to('apache/kafka:3.9.1')}; or set kafka.mode to 'kraft'")
        if self.mode != "zookeeper":
            reason = f"in the mode '{self.mode}', which runs no ZooKeeper"
            found |= unused_keys(self, ["zookeeper"], reason=reason)
        found |= _mode_sections(self, {"external": "external"})
        if self.brokers > 1 and self.mode != "kraft":
            problem = f"must be 1 in the mode '{self.mode}'; several brokers need the mode 'kraft'"
            found["brokers"] = Conflict(problem, f"{set_to('1')}; or set kafka.mode to 'kraft'")
        events_mib = self.storage_gib * 1024 * EVENTS_SHARE
        if self.mode != "external" and events_mib < self.partitions_per_broker * SMALLEST_PARTITION_MIB:
            most = int(events_mib / SMALLEST_PARTITION_MIB * self.brokers / self.replicas / self.partitions)
            problem = (
                f"is too high for storageGib {self.storage_gib} and partitions {self.partitions}: each partition needs "
                f"{SMALLEST_PARTITION_MIB} MiB"
            )
            found["topics"] = Conflict(problem, f"{set_to(f'{most} (or less)')}; or raise storageGib")
        # `brokers` and `zookeeper` have messages of their own.
        found |= _server_settings(self, but={"mode", "brokers", "zookeeper", "external"})
        if self.mode == "external":
            if not self.external.bootstrap_servers:
                found["external.bootstrapServers"] = Conflict(REQUIRED, "set at least one 'HOST:PORT'")
            protocol = self.external.security_protocol
            if protocol == "SASL_SSL" and self.external.username is None:
                problem = "is required with securityProtocol 'SASL_SSL'"
                found["external.username"] = Conflict(problem, set_to("USER"))
            if protocol != "SASL_SSL" and self.external.username is not None:
                problem = f"has no effect with securityProtocol '{protocol}'"
                found["external.username"] = Conflict(problem, REMOVE)
        if found:
            raise SettingsConflict(found)
        return self


def _server_settings(store: Postgres | Redis | Kafka, *, but: Collection[str]) -> dict[str, Conflict]:
    """Return a conflict for each setting of the server that is set although the server is managed elsewhere."""
    if store.mode != "external":
        return {}
    names = [name for name in type(store).model_fields if name not in but]
    return unused_keys(store, names, reason="in the mode 'external': the server is managed elsewhere")


def _mode_sections(section: Section, modes: Mapping[str, str]) -> dict[str, Conflict]:
    """Return a conflict for each section that the mode doesn't use."""
    mode = getattr(section, "mode")  # noqa: B009 - every caller has one
    return {
        key: Conflict(f"has no effect in the mode '{mode}'", f"{REMOVE}; or set mode to '{wanted}'")
        for key, wanted in modes.items()
        if mode != wanted and key in section.model_fields_set
    }

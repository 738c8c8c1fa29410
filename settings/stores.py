"""PostgreSQL, Redis and Kafka: how each one runs, or its external address."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, ClassVar, Literal, Self

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
from settings.credential import Credential
from settings.postgres_memory import Memory

CPU_REQUEST = "CPU request in cores."
STORAGE = "Size of its volume in GiB. It can grow, but not shrink. On Docker, volumes share the engine's disk."
EXTERNAL_CIDRS = "Address ranges of the server, which network policies allow. Default: any public address."

AOF_SIZE_FACTOR = 4
"""Disk space for Redis' append-only file, in multiples of the data: the old file at its largest, and the new one."""

EVENTS_SHARE = 0.6
"""Share of a Kafka volume for events."""

SMALLEST_PARTITION_MIB = 8
"""A quarter of a partition's part is a log segment, which must be able to contain the largest batch of events (1 MiB by
default)."""

INSTANCE_MANAGER_MIB = 128
"""Memory of CloudNativePG's instance manager, which runs in the server's container."""

REQUIRED = "is required with the mode 'external'"

BrokerAddress = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?:\d{1,5}$")]


POSTGRES_ADMIN = Credential("postgresPassword", "POSTGRES_PASSWORD", "postgres", "PostgreSQL's superuser postgres")
POSTGRES_BACKUP = Credential(
    "postgresBackupPassword", "POSTGRES_BACKUP_PASSWORD", "pti_backup", "PostgreSQL's role pti_backup"
)
REDIS = Credential("redisPassword", "REDIS_PASSWORD", None, "Redis")
KAFKA = Credential("kafkaPassword", "KAFKA_PASSWORD", None, "the user of an external Kafka", third_party=True)


class StoreSettings(Section):
    """A store: how it runs, or its external address."""

    credentials: ClassVar[tuple[Credential, ...]]
    """Its credentials."""

    login: ClassVar[Credential]
    """The login that an external server requires."""

    @property
    def is_external(self) -> bool:
        """Return whether its server is managed elsewhere."""
        mode: str = getattr(self, "mode")  # noqa: B009 - every store declares its own modes
        return mode == "external"

    @property
    def unused_credentials(self) -> tuple[Credential, ...]:
        """Return those of its credentials that this configuration doesn't use."""
        return ()

    def host_ports(self) -> Iterator[tuple[str, Section, int]]:
        """Yield each host port of its own servers: its section's path below this one, the section, the port."""
        port: int = getattr(self, "port")  # noqa: B009 - every store declares its own default
        yield "", self, port


class ExternalPostgres(Section):
    """A managed PostgreSQL server, for `postgres.mode: external`. The stack needs a superuser on it."""

    host: HostName | None = Field(None, examples=["db.example.com"], description="Host name. Required in this mode.")
    port: HostPort = Field(5432, description="TCP port.")
    admin: str = Field(
        "postgres",
        min_length=1,
        examples=["postgres"],
        description="Superuser that creates databases, roles and the event trigger for tenant isolation. Its password "
        "is the secret `postgresPassword`.",
    )
    ssl_mode: Literal["disable", "require", "verify-full"] = Field(
        "require", description="libpq's `sslmode` for connections; `verify-full` checks the host name."
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
        description="Number of servers: one primary, the others replicas. With 3 or more, a commit waits for half of "
        "the replicas, and only a replica that has every commit becomes the primary.",
    )
    operator_namespace: DnsLabel = Field(
        "cnpg-system", examples=["cnpg-system"], description="Namespace of the operator."
    )


class Postgres(StoreSettings):
    """PostgreSQL: one database per service."""

    credentials: ClassVar = (POSTGRES_ADMIN, POSTGRES_BACKUP)
    login: ClassVar = POSTGRES_ADMIN

    mode: Literal["single", "cloudnativepg", "external"] = Field(
        "single",
        description="`single`: one server with its volume, not highly available; `cloudnativepg`: a primary and "
        "replicas with automatic failover, by the operator CloudNativePG (1.28 or newer), which must be installed; "
        "`external`: a managed server.",
    )
    image: Image = Field(
        "postgres:18.6", examples=["postgres:18.6"], description="Server image, PostgreSQL 17 or newer."
    )
    port: HostPort = Field(5432, description="Host port (Docker).")
    memory_mib: int = Field(
        1024,
        ge=512,
        le=1_048_576,
        description="Memory limit in MiB. It determines caches, work memory and parallel workers.",
    )
    max_connections: int = Field(
        150,
        ge=20,
        le=10_000,
        description="Maximum number of connections (`max_connections`). Each needs memory, and the limits of all roles "
        "must fit. A change restarts the server.",
    )
    cpu_request: float = Field(0.1, gt=0, le=64, description=CPU_REQUEST)
    storage_gib: int = Field(10, ge=1, le=65_536, description=STORAGE)
    external: ExternalPostgres = Field(default_factory=ExternalPostgres, description="Used in the mode `external`.")
    cloudnativepg: CloudNativePg = Field(default_factory=CloudNativePg, description="Used in the mode `cloudnativepg`.")

    @property
    def major(self) -> int:
        """Return the PostgreSQL major version, which names the data directory (18 for `postgres:18.6`)."""
        _, tag = repository_and_tag(self.image)
        return int(re.split(r"\D", tag, maxsplit=1)[0])

    @property
    def memory(self) -> Memory:
        """Return how the server's memory is divided."""
        return postgres_memory.divided(self.memory_mib, self.max_connections, beside_mib=self._beside_mib)

    @property
    def _beside_mib(self) -> int:
        """Return the memory of the operator's process that runs beside the server."""
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

    host: HostName | None = Field(None, examples=["redis.example.com"], description="Host name. Required in this mode.")
    port: HostPort = Field(6379, description="TCP port.")
    tls: bool = Field(True, description="Whether connections are encrypted.")
    cidrs: Cidrs = Field((), description=EXTERNAL_CIDRS)


class Redis(StoreSettings):
    """Redis: cache and sessions."""

    credentials: ClassVar = (REDIS,)
    login: ClassVar = REDIS

    mode: Literal["standalone", "external"] = Field(
        "standalone",
        description="`standalone`: one server; `external`: a managed server, whose password is the secret "
        "`redisPassword`.",
    )
    image: Image = Field("redis:8.10.1", description="Server image.")
    port: HostPort = Field(6379, description="Host port (Docker).")
    max_memory_mib: int = Field(
        128,
        ge=8,
        le=262_144,
        description="Maximum size of the data in MiB (`maxmemory`); beyond it, keys with an expiry are evicted. It "
        "determines the memory limit and the smallest `storageGib` (docs/stores.md).",
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
            problem = "is older than Redis 7, the first version that limits the memory of its clients"
            found["image"] = Conflict(problem, set_to("redis:8.10.1"))
        needed_gib = -(-self.max_memory_mib * AOF_SIZE_FACTOR // 1024)
        if self.storage_gib < needed_gib:
            problem = (
                f"is smaller than {AOF_SIZE_FACTOR} times maxMemoryMib ({self.max_memory_mib}), which a rewrite of the "
                "append-only file needs"
            )
            found["storageGib"] = Conflict(problem, set_to(f"{needed_gib} (or more)"))
        if found:
            raise SettingsConflict(found)
        return self


class ZooKeeper(Section):
    """ZooKeeper: Kafka's coordination in the `zookeeper` mode."""

    image: Image = Field("zookeeper:3.9.5", description="Server image.")
    port: HostPort = Field(2181, description="Host port (Docker).")
    heap_mib: int = Field(96, ge=64, description="Java heap in MiB.")


class ExternalKafka(Section):
    """A managed Kafka, for `kafka.mode: external`."""

    bootstrap_servers: tuple[BrokerAddress, ...] = Field(
        (),
        strict=False,
        examples=[["kafka-1.example.com:9092"]],
        description="Bootstrap servers, each as `host:port`. Required in this mode.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = Field(
        "SSL", description="Security protocol of the clients. `SASL_SSL` requires the secret `kafkaPassword`."
    )
    username: str | None = Field(
        None, min_length=1, examples=["pti-calendar"], description="User of `SASL_SSL` (SCRAM-SHA-512)."
    )
    cidrs: Cidrs = Field((), description=EXTERNAL_CIDRS)


class Kafka(StoreSettings):
    """Kafka: the event bus."""

    credentials: ClassVar = (KAFKA,)
    login: ClassVar = KAFKA

    mode: Literal["zookeeper", "kraft", "external"] = Field(
        "zookeeper",
        description="`zookeeper`: one broker and ZooKeeper (Kafka 3.9 is the last version with it); `kraft`: Kafka's "
        "own quorum, without ZooKeeper; `external`: a managed Kafka. Each mode has its own volume.",
    )
    brokers: Literal[1, 3, 5] = Field(
        1,
        description="Number of brokers, in the mode `kraft`. With 3 or more, each event has three replicas, and a "
        "write waits for two of them (replication factor 3, `min.insync.replicas` 2).",
    )
    image: Image | None = Field(
        None,
        examples=["apache/kafka:3.9.1"],
        description="Broker image. Default: `apache/kafka:3.9.1` (zookeeper) or `apache/kafka:4.3.1` (kraft).",
    )
    port: HostPort = Field(9092, description="Host port (Docker).")
    heap_mib: int = Field(
        320,
        ge=192,
        description="Java heap in MiB. It determines the memory limit (docs/stores.md).",
    )
    jvm_options: str = Field(
        "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        examples=["-XX:+UseG1GC -XX:MaxGCPauseMillis=20"],
        description="JVM options. The default suits a small heap on a laptop and saves a third of the memory.",
    )
    cpu_request: float = Field(0.1, gt=0, le=64, description=CPU_REQUEST)
    storage_gib: int = Field(10, ge=1, le=65_536, description=STORAGE)
    partitions: int = Field(
        6,
        ge=1,
        le=1_000,
        description="Partitions of a topic that is created on first use. They limit the replicas of a consumer that "
        "share its events. An existing topic keeps its number.",
    )
    expected_topics: int = Field(
        12,
        ge=1,
        le=10_000,
        description="Expected number of topics. They share 60 % of the volume equally, each with `partitions` "
        "partitions. A partition that exceeds its share loses its oldest events.",
    )
    zookeeper: ZooKeeper = Field(default_factory=ZooKeeper, description="Used in the mode `zookeeper`.")
    external: ExternalKafka = Field(default_factory=ExternalKafka, description="Used in the mode `external`.")

    @property
    def unused_credentials(self) -> tuple[Credential, ...]:
        """Return the password as unused if clients don't log in."""
        return () if self.external.username else (KAFKA,)

    def host_ports(self) -> Iterator[tuple[str, Section, int]]:
        """Also yield ZooKeeper's port."""
        yield from super().host_ports()
        if self.mode == "zookeeper":
            yield ".zookeeper", self.zookeeper, self.zookeeper.port

    @property
    def replicas(self) -> int:
        """Return the number of replicas of each partition."""
        return min(3, self.brokers)

    @property
    def partitions_per_broker(self) -> int:
        """Return the number of partition replicas on each broker."""
        return math.ceil(self.expected_topics * self.partitions * self.replicas / self.brokers)

    @property
    def broker_image(self) -> str:
        """Return the image: the configured one, or the newest version that supports this mode."""
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
            found["expectedTopics"] = Conflict(problem, f"{set_to(f'{most} (or less)')}; or raise storageGib")
        # `brokers` and `zookeeper` have their own messages.
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


class Stores(Section):
    """The stores of a stack."""

    postgres: Postgres = Field(default_factory=Postgres, description="PostgreSQL.")
    redis: Redis = Field(default_factory=Redis, description="Redis.")
    kafka: Kafka = Field(default_factory=Kafka, description="Kafka.")

    @property
    def stores(self) -> dict[str, StoreSettings]:
        """Return the sections, by name."""
        return {name: section for name, section in self if isinstance(section, StoreSettings)}


def store_sections(model: type[Stores]) -> Iterator[type[StoreSettings]]:
    """Yield the models of the stores."""
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, StoreSettings):
            yield field.annotation


def _server_settings(store: StoreSettings, *, but: Collection[str]) -> dict[str, Conflict]:
    """Return a conflict for each setting of the server that is set although the server is managed elsewhere."""
    if not store.is_external:
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

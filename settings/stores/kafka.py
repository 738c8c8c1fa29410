"""Kafka and ZooKeeper: how they are run, or where Kafka is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from settings.base import (
    REMOVE_COMMAND,
    Cidrs,
    Conflict,
    HostPort,
    Image,
    Section,
    SettingsConflict,
    repository_and_tag,
    set_command,
    unused_keys,
)
from settings.credential import Credential
from settings.stores.store import (
    CPU_REQUEST_DESCRIPTION,
    EXTERNAL_CIDRS_DESCRIPTION,
    REQUIRED_PROBLEM,
    STORAGE_DESCRIPTION,
    StoreSettings,
    unused_mode_sections,
    unused_settings_of_server,
)

EVENTS_SHARE = 0.6
"""Share of a Kafka volume for events."""

SMALLEST_PARTITION_MIB = 8
"""Minimum size of a partition: a log segment is a quarter of it, and must be able to contain the largest batch of
events (1 MiB by default)."""

BrokerAddress = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?:\d{1,5}$")]

KAFKA = Credential("kafkaPassword", "KAFKA_PASSWORD", None, "the user of an external Kafka", third_party=True)


class ZooKeeperSettings(Section):
    """ZooKeeper: Kafka's coordination in the `zookeeper` mode."""

    image: Image = Field("zookeeper:3.9.5", description="Server image.")
    port: HostPort = Field(2181, description="Host port (Docker).")
    heap_mib: int = Field(96, ge=64, description="Java heap in MiB.")


class ExternalKafkaSettings(Section):
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
    cidrs: Cidrs = Field((), description=EXTERNAL_CIDRS_DESCRIPTION)


class KafkaSettings(StoreSettings):
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
    cpu_request: float = Field(0.1, gt=0, le=64, description=CPU_REQUEST_DESCRIPTION)
    storage_gib: int = Field(10, ge=1, le=65_536, description=STORAGE_DESCRIPTION)
    partitions: int = Field(
        6,
        ge=1,
        le=1_000,
        description="Partitions of a topic that is created on first use. Their number limits how many replicas of a "
        "consumer can share its events. An existing topic keeps its number.",
    )
    expected_topics: int = Field(
        12,
        ge=1,
        le=10_000,
        description="Expected number of topics. They share 60 % of the volume equally, each with `partitions` "
        "partitions. A partition that exceeds its share loses its oldest events.",
    )
    zookeeper: ZooKeeperSettings = Field(default_factory=ZooKeeperSettings, description="Used in the mode `zookeeper`.")
    external: ExternalKafkaSettings = Field(
        default_factory=ExternalKafkaSettings, description="Used in the mode `external`."
    )

    @property
    def unused_credentials(self) -> tuple[Credential, ...]:
        """Return the password as unused if clients don't log in."""
        return () if self.external.username else (KAFKA,)

    def host_ports(self) -> Iterator[tuple[str, Section]]:
        """Yield the host ports of the broker and, in the mode `zookeeper`, of ZooKeeper."""
        yield from super().host_ports()
        if self.mode == "zookeeper":
            yield ".zookeeper", self.zookeeper

    def external_hosts(self) -> Iterator[tuple[str, str | None]]:
        """Yield the host of each bootstrap server."""
        yield from (("external.bootstrapServers", one.rpartition(":")[0]) for one in self.external.bootstrap_servers)

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
    def _check_consistency(self) -> Self:
        found = {}
        repository, tag = repository_and_tag(self.broker_image)
        major = re.match(r"(\d+)\.", tag)
        if self.mode == "zookeeper" and repository.endswith("apache/kafka") and major and int(major[1]) >= 4:
            problem = "is Kafka 4, which has no ZooKeeper mode (docs/store-upgrades.md#kafka-from-zookeeper-to-kraft)"
            found["image"] = Conflict(problem, f"{set_command('apache/kafka:3.9.1')}; or set kafka.mode to 'kraft'")
        if self.mode != "zookeeper":
            reason = f"in the mode '{self.mode}', which runs no ZooKeeper"
            found |= unused_keys(self, ["zookeeper"], reason=reason)
        found |= unused_mode_sections(self, {"external": "external"})
        if self.brokers > 1 and self.mode != "kraft":
            problem = f"must be 1 in the mode '{self.mode}'; several brokers need the mode 'kraft'"
            found["brokers"] = Conflict(problem, f"{set_command('1')}; or set kafka.mode to 'kraft'")
        events_mib = self.storage_gib * 1024 * EVENTS_SHARE
        if self.mode != "external" and events_mib < self.partitions_per_broker * SMALLEST_PARTITION_MIB:
            most = int(events_mib / SMALLEST_PARTITION_MIB * self.brokers / self.replicas / self.partitions)
            problem = (
                f"is too high for storageGib {self.storage_gib} and partitions {self.partitions}: each partition needs "
                f"{SMALLEST_PARTITION_MIB} MiB"
            )
            found["expectedTopics"] = Conflict(problem, f"{set_command(f'{most} (or less)')}; or raise storageGib")
        # `brokers` and `zookeeper` have their own messages.
        found |= unused_settings_of_server(self, used={"mode", "brokers", "zookeeper", "external"})
        if self.mode == "external":
            if not self.external.bootstrap_servers:
                found["external.bootstrapServers"] = Conflict(REQUIRED_PROBLEM, "set at least one 'HOST:PORT'")
            protocol = self.external.security_protocol
            if protocol == "SASL_SSL" and self.external.username is None:
                problem = "is required with securityProtocol 'SASL_SSL'"
                found["external.username"] = Conflict(problem, set_command("USER"))
            if protocol != "SASL_SSL" and self.external.username is not None:
                problem = f"has no effect with securityProtocol '{protocol}'"
                found["external.username"] = Conflict(problem, REMOVE_COMMAND)
        if found:
            raise SettingsConflict(found)
        return self

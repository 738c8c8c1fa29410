"""The typed configuration of a stack: what may be said in `Pulumi.<stack>.yaml`, its defaults and its limits.

Every model is frozen and refuses unknown keys. A field's description is its documentation: `docs/configuration.md`
and the JSON Schema are generated from here. Secrets never enter these models (pulumi/pulumi#6531: an object that is
read whole yields its secrets as plain strings); `settings.credentials` names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from settings.credentials import CREDENTIALS, PGADMIN, Credential

IMAGE_REFERENCE = re.compile(
    r"(?P<repository>(?:[a-z0-9]+(?:[.-][a-z0-9]+)*(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class Contradictions(ValueError):
    """Settings that don't go together: key (below the section that says so) to what is allowed instead."""

    def __init__(self, allowed: Mapping[str, str]) -> None:
        super().__init__(*allowed.values())
        self.allowed = allowed


def _exact_image(value: str) -> str:
    match = IMAGE_REFERENCE.fullmatch(value)
    if not match:
        raise ValueError("an image reference such as 'redis:8.10.1' or 'ghcr.io/owner/name:1.2'")
    if match["digest"] is None and match["tag"] in (None, "latest"):
        raise ValueError(
            "an exact tag or a digest ('name:1.2.3', 'name@sha256:…'): a moving tag hides changes from the preview"
        )
    return value


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("an IPv4 address")
    return value


def _repository_and_tag(image: str) -> tuple[str, str]:
    match = IMAGE_REFERENCE.fullmatch(image)
    return (match["repository"], match["tag"] or "") if match else ("", "")


Image = Annotated[str, AfterValidator(_exact_image), Field(examples=["redis:8.10.1"])]
HostPort = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """A part of the configuration: frozen, strict about types, camelCase in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel, validate_by_name=True)


class Backend(Section):
    """Where the platform runs."""

    kind: Literal["docker"] = Field("docker", description="`docker`: one Docker engine.")
    host: str | None = Field(
        None,
        pattern=r"^(unix|tcp|ssh|npipe)://.+$",
        examples=["unix:///var/run/docker.sock"],
        description="The engine's address. Without it `DOCKER_HOST` decides, then the local socket.",
    )
    bind_address: Annotated[IPv4Address, BeforeValidator(_text)] = Field(
        IPv4Address("127.0.0.1"),
        strict=False,
        description="Host address that published ports bind to. Anything but loopback opens the stores to the network.",
    )
    published_host: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$",
        examples=["engine.example.com"],
        description="Host name or address under which people reach the published ports, and which Kafka sends its "
        "clients to. Without it, `bindAddress`.",
    )

    @property
    def reached_at(self) -> str:
        """Where the published ports are."""
        return self.published_host or str(self.bind_address)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.bind_address.is_unspecified and self.published_host is None:
            raise Contradictions(
                {"publishedHost": f"the name or address people use, as bindAddress {self.bind_address} names none"}
            )
        return self


class Images(Section):
    """Where images come from."""

    registry: str | None = Field(
        None,
        pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*(:\d+)?(/[a-z0-9._-]+)*$",
        examples=["registry.example.com/mirror"],
        description="Mirror prefix put before every image, for companies that pull through a registry of their own.",
    )


class Postgres(Section):
    """PostgreSQL: one server, one database per service."""

    image: Image = Field(
        "postgres:18.6", examples=["postgres:18.6"], description="Server image, PostgreSQL 17 or newer."
    )
    port: HostPort = Field(5432, description="Host port.")
    memory_mib: int = Field(512, ge=256, le=1_048_576, description="Memory limit in MiB.")
    shared_buffers_mib: int = Field(128, ge=16, description="PostgreSQL's own cache in MiB.")
    max_connections: int = Field(200, ge=20, le=10_000, description="Connections the server accepts.")

    @property
    def major(self) -> int:
        """The PostgreSQL major version, which names the data directory (18 for `postgres:18.6`)."""
        _, tag = _repository_and_tag(self.image)
        return int(re.split(r"\D", tag, maxsplit=1)[0])

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        allowed = {}
        _, tag = _repository_and_tag(self.image)
        if not re.match(r"(1[7-9]|[2-9]\d)(\D|$)", tag):
            allowed["image"] = (
                "a tag that begins with the PostgreSQL major version, 17 or newer "
                "(the data directory is named after it)"
            )
        if self.shared_buffers_mib * 2 > self.memory_mib:
            allowed["sharedBuffersMib"] = f"at most half of memoryMib ({self.memory_mib})"
        if allowed:
            raise Contradictions(allowed)
        return self


class Redis(Section):
    """Redis: cache and sessions."""

    image: Image = Field("redis:8.10.1", description="Server image.")
    port: HostPort = Field(6379, description="Host port.")
    max_memory_mib: int = Field(
        128, ge=8, description="Data kept at most, in MiB; keys with an expiry are evicted beyond it."
    )


class ZooKeeper(Section):
    """ZooKeeper: Kafka's coordination in the `zookeeper` mode."""

    image: Image = Field("zookeeper:3.9.5", description="Server image.")
    port: HostPort = Field(2181, description="Host port.")
    heap_mib: int = Field(96, ge=64, description="Java heap in MiB.")


class Kafka(Section):
    """Kafka: the event bus."""

    mode: Literal["zookeeper", "kraft"] = Field(
        "zookeeper",
        description="`zookeeper`: as the platform has it today (Kafka 3.9 is the last line with it); "
        "`kraft`: Kafka's own quorum, no ZooKeeper. Each mode has a volume of its own.",
    )
    image: Image | None = Field(
        None,
        examples=["apache/kafka:3.9.1"],
        description="Broker image; without it `apache/kafka:3.9.1` (zookeeper) or `apache/kafka:4.3.1` (kraft).",
    )
    port: HostPort = Field(9092, description="Host port.")
    heap_mib: int = Field(320, ge=192, description="Java heap in MiB.")
    zookeeper: ZooKeeper = Field(default_factory=ZooKeeper, description="Used in the `zookeeper` mode only.")

    @property
    def broker_image(self) -> str:
        """The image to run: the one given, or the newest line that has this mode."""
        return self.image or {"zookeeper": "apache/kafka:3.9.1", "kraft": "apache/kafka:4.3.1"}[self.mode]

    @model_validator(mode="after")
    def _mode_exists_in_image(self) -> Self:
        repository, tag = _repository_and_tag(self.broker_image)
        major = re.match(r"(\d+)\.", tag)
        if self.mode == "zookeeper" and repository.endswith("apache/kafka") and major and int(major[1]) >= 4:
            raise Contradictions({"image": "apache/kafka:3.9.x, as Kafka 4 has no ZooKeeper mode; or mode 'kraft'"})
        if self.mode == "kraft" and "zookeeper" in self.model_fields_set:
            raise Contradictions({"zookeeper": "nothing in the mode 'kraft', which runs no ZooKeeper: remove it"})
        return self


class PgAdmin(Section):
    """pgAdmin, with the server already listed."""

    image: Image = Field("dpage/pgadmin4:9.17", description="Image.")
    port: HostPort = Field(5050, description="Host port.")
    email: str = Field(
        "admin@pti-calendar.fr",
        pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
        examples=["admin@pti-calendar.fr"],
        description="Login of its one user.",
    )


class KafkaUi(Section):
    """Kafka UI (the kafbat continuation; provectus/kafka-ui is no longer maintained)."""

    image: Image = Field("ghcr.io/kafbat/kafka-ui:v1.5.0", description="Image.")
    port: HostPort = Field(8080, description="Host port.")
    heap_mib: int = Field(192, ge=128, description="Java heap in MiB.")


class RedisCommander(Section):
    """Redis Commander."""

    image: Image = Field("ghcr.io/joeferner/redis-commander:0.9.1", description="Image.")
    port: HostPort = Field(8081, description="Host port.")


class DevTools(Section):
    """The three web tools of a developer."""

    enabled: bool = Field(False, description="Whether they run at all.")
    pg_admin: PgAdmin = Field(default_factory=PgAdmin, description="pgAdmin.")
    kafka_ui: KafkaUi = Field(default_factory=KafkaUi, description="Kafka UI.")
    redis_commander: RedisCommander = Field(default_factory=RedisCommander, description="Redis Commander.")


class Settings(Section):
    """One stack of the PTI Calendar platform."""

    backend: Backend = Field(default_factory=Backend, description="Where the platform runs.")
    credentials: Literal["generated", "well-known"] = Field(
        "generated",
        description="`generated`: a random value per credential, kept as a secret in the state; `well-known`: "
        "the ones everyone knows (postgres / postgres, no Redis password), for a laptop. Either way a "
        "credential that is set as a configuration secret wins.",
    )
    protect: bool = Field(
        False,
        description="Whether volumes and generated credentials refuse deletion until unprotected. Volumes "
        "outlive a `pulumi destroy` either way.",
    )
    images: Images = Field(default_factory=Images, description="Where images come from.")
    postgres: Postgres = Field(default_factory=Postgres, description="PostgreSQL.")
    redis: Redis = Field(default_factory=Redis, description="Redis.")
    kafka: Kafka = Field(default_factory=Kafka, description="Kafka.")
    dev_tools: DevTools = Field(default_factory=DevTools, description="pgAdmin, Kafka UI, Redis Commander.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        allowed = {}
        taken: dict[int, str] = {}
        for key, port in self.published_ports():
            if port in taken:
                allowed[key] = f"a port of its own: {port} is already taken by {taken[port]}"
            taken.setdefault(port, key)
        if self.credentials == "well-known" and not self.backend.bind_address.is_loopback:
            allowed["credentials"] = (
                "'generated', as backend.bindAddress publishes ports beyond this machine; "
                "or a bindAddress on loopback (127.0.0.1)"
            )
        if allowed:
            raise Contradictions(allowed)
        return self

    def required_credentials(self) -> tuple[Credential, ...]:
        """The credentials of what the stack runs."""
        return tuple(one for one in CREDENTIALS if self.dev_tools.enabled or one is not PGADMIN)

    def published_ports(self) -> Iterator[tuple[str, int]]:
        """Each host port the stack binds, with the configuration key that changes it."""
        yield "postgres.port", self.postgres.port
        yield "redis.port", self.redis.port
        yield "kafka.port", self.kafka.port
        if self.kafka.mode == "zookeeper":
            yield "kafka.zookeeper.port", self.kafka.zookeeper.port
        if self.dev_tools.enabled:
            yield "devTools.pgAdmin.port", self.dev_tools.pg_admin.port
            yield "devTools.kafkaUi.port", self.dev_tools.kafka_ui.port
            yield "devTools.redisCommander.port", self.dev_tools.redis_commander.port


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the settings object, as an editor wants it."""
    return Settings.model_json_schema(by_alias=True)

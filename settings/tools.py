"""Web tools for developers."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from settings.base import HostPort, Image, Section, SettingsConflict, missing_enabled_key


class PgAdminSettings(Section):
    """pgAdmin, with the server already listed."""

    image: Image = Field("dpage/pgadmin4:9.17", description="Image of pgAdmin.")
    port: HostPort = Field(5050, description="Host port.")
    email: str = Field(
        "admin@pti-calendar.fr",
        pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
        examples=["admin@pti-calendar.fr"],
        description="Login of pgAdmin's only user.",
    )


class KafkaUiSettings(Section):
    """Kafka UI (the kafbat continuation; provectus/kafka-ui is no longer maintained)."""

    image: Image = Field("ghcr.io/kafbat/kafka-ui:v1.5.0", description="Image of Kafka UI.")
    port: HostPort = Field(8080, description="Host port.")
    heap_mib: int = Field(192, ge=128, description="Java heap in MiB.")


class RedisCommanderSettings(Section):
    """Redis Commander."""

    image: Image = Field("ghcr.io/joeferner/redis-commander:0.9.1", description="Image of Redis Commander.")
    port: HostPort = Field(8081, description="Host port.")


class DevToolsSettings(Section):
    """Three web tools for developers."""

    enabled: bool = Field(False, description="Whether the three tools run.")
    pg_admin: PgAdminSettings = Field(default_factory=PgAdminSettings, description="pgAdmin.")
    kafka_ui: KafkaUiSettings = Field(default_factory=KafkaUiSettings, description="Kafka UI.")
    redis_commander: RedisCommanderSettings = Field(
        default_factory=RedisCommanderSettings, description="Redis Commander."
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if found := missing_enabled_key(self):
            raise SettingsConflict(found)
        return self

"""The stores of a stack: how each is run, or where it is."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from settings.base import Section
from settings.stores.kafka import KafkaSettings
from settings.stores.postgres import PostgresSettings
from settings.stores.redis import RedisSettings
from settings.stores.store import StoreSettings


class StoresSettings(Section):
    """The stores of a stack."""

    postgres: PostgresSettings = Field(default_factory=PostgresSettings, description="PostgreSQL.")
    redis: RedisSettings = Field(default_factory=RedisSettings, description="Redis.")
    kafka: KafkaSettings = Field(default_factory=KafkaSettings, description="Kafka.")

    @property
    def stores(self) -> dict[str, StoreSettings]:
        """Return the sections, by name."""
        return {name: section for name, section in self if isinstance(section, StoreSettings)}


def store_sections(model: type[StoresSettings]) -> Iterator[type[StoreSettings]]:
    """Yield the models of the stores."""
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, StoreSettings):
            yield field.annotation

"""Redis: how it is run, or where it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from settings.base import (
    Cidrs,
    Conflict,
    HostName,
    HostPort,
    Image,
    Section,
    SettingsConflict,
    repository_and_tag,
    set_command,
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

AOF_SIZE_FACTOR = 4
"""Disk space for Redis' append-only file, in multiples of the data: the old file at its largest, and the new one."""

REDIS = Credential("redisPassword", "REDIS_PASSWORD", None, "Redis")


class ExternalRedisSettings(Section):
    """A managed Redis server, for `redis.mode: external`."""

    host: HostName | None = Field(None, examples=["redis.example.com"], description="Host name. Required in this mode.")
    port: HostPort = Field(6379, description="TCP port.")
    tls: bool = Field(True, description="Whether connections are encrypted.")
    cidrs: Cidrs = Field((), description=EXTERNAL_CIDRS_DESCRIPTION)


class RedisSettings(StoreSettings):
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
    cpu_request: float = Field(0.05, gt=0, le=64, description=CPU_REQUEST_DESCRIPTION)
    storage_gib: int = Field(2, ge=1, le=65_536, description=STORAGE_DESCRIPTION)
    external: ExternalRedisSettings = Field(
        default_factory=ExternalRedisSettings, description="Used in the mode `external`."
    )

    def external_hosts(self) -> Iterator[tuple[str, str | None]]:
        """Yield the host of an external server."""
        yield "external.host", self.external.host

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        found = unused_mode_sections(self, {"external": "external"})
        if self.mode == "external" and self.external.host is None:
            found["external.host"] = Conflict(REQUIRED_PROBLEM, set_command("HOST"))
        found |= unused_settings_of_server(self, used={"mode", "external"})
        _, tag = repository_and_tag(self.image)
        if re.match(r"[0-6](\D|$)", tag):
            problem = "is older than Redis 7, the first version that limits the memory of its clients"
            found["image"] = Conflict(problem, set_command("redis:8.10.1"))
        needed_gib = -(-self.max_memory_mib * AOF_SIZE_FACTOR // 1024)
        if self.storage_gib < needed_gib:
            problem = (
                f"is smaller than {AOF_SIZE_FACTOR} times maxMemoryMib ({self.max_memory_mib}), which a rewrite of the "
                "append-only file needs"
            )
            found["storageGib"] = Conflict(problem, set_command(f"{needed_gib} (or more)"))
        if found:
            raise SettingsConflict(found)
        return self

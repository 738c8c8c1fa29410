"""PostgreSQL: how it is run, or where it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from settings import postgres_memory
from settings.base import (
    REMOVE_COMMAND,
    Cidrs,
    Conflict,
    DnsLabel,
    HostName,
    HostPort,
    Image,
    Section,
    SettingsConflict,
    repository_and_tag,
    set_command,
    unused_keys,
)
from settings.credential import Credential
from settings.postgres_memory import Memory
from settings.stores.store import (
    CPU_REQUEST_DESCRIPTION,
    EXTERNAL_CIDRS_DESCRIPTION,
    REQUIRED_PROBLEM,
    STORAGE_DESCRIPTION,
    StoreSettings,
    unused_mode_sections,
    unused_settings_of_server,
)

INSTANCE_MANAGER_MIB = 128
"""Memory of CloudNativePG's instance manager, which runs in the server's container."""

POSTGRES_ADMIN = Credential("postgresPassword", "POSTGRES_PASSWORD", "postgres", "PostgreSQL's superuser postgres")
POSTGRES_BACKUP = Credential(
    "postgresBackupPassword", "POSTGRES_BACKUP_PASSWORD", "pti_backup", "PostgreSQL's role pti_backup"
)


class ExternalPostgresSettings(Section):
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
    cidrs: Cidrs = Field((), description=EXTERNAL_CIDRS_DESCRIPTION)


class CloudNativePgSettings(Section):
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


class PostgresSettings(StoreSettings):
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
    previous_major: int | None = Field(
        None,
        ge=17,
        examples=[17],
        description="Major version that the server had before `image`. It allows a change of the major version, in "
        "an upgrade or on the way back (docs/store-upgrades.md).",
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
    cpu_request: float = Field(0.1, gt=0, le=64, description=CPU_REQUEST_DESCRIPTION)
    storage_gib: int = Field(10, ge=1, le=65_536, description=STORAGE_DESCRIPTION)
    external: ExternalPostgresSettings = Field(
        default_factory=ExternalPostgresSettings, description="Used in the mode `external`."
    )
    cloudnativepg: CloudNativePgSettings = Field(
        default_factory=CloudNativePgSettings, description="Used in the mode `cloudnativepg`."
    )

    @property
    def major(self) -> int:
        """Return the PostgreSQL major version, which names the data directory (18 for `postgres:18.6`)."""
        _, tag = repository_and_tag(self.image)
        return int(re.split(r"\D", tag, maxsplit=1)[0])

    @property
    def memory(self) -> Memory:
        """Return how the server's memory is divided."""
        return postgres_memory.divide(self.memory_mib, self.max_connections, reserved_mib=self._reserved_mib)

    @property
    def _reserved_mib(self) -> int:
        """Return the memory of the operator's process that runs next to the server."""
        return INSTANCE_MANAGER_MIB if self.mode == "cloudnativepg" else 0

    def external_hosts(self) -> Iterator[tuple[str, str | None]]:
        """Yield the host of an external server."""
        yield "external.host", self.external.host

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        found = {}
        _, tag = repository_and_tag(self.image)
        if not re.match(r"(1[7-9]|[2-9]\d)(\D|$)", tag):
            problem = (
                "has a tag that doesn't begin with a PostgreSQL major version (17 or newer), which names the data "
                "directory"
            )
            found["image"] = Conflict(problem, set_command("postgres:18.6"))
        elif self.previous_major == self.major:
            problem = f"is the major version of the image ({self.image})"
            found["previousMajor"] = Conflict(problem, REMOVE_COMMAND)
        found |= unused_mode_sections(self, {"external": "external", "cloudnativepg": "cloudnativepg"})
        if self.mode == "external" and self.external.host is None:
            found["external.host"] = Conflict(REQUIRED_PROBLEM, set_command("HOST"))
        # The task that creates the databases runs the client of `image` in every mode.
        found |= unused_settings_of_server(self, used={"mode", "image", "external"})
        if self.mode == "cloudnativepg":
            found |= unused_keys(self, ["port"], reason="in the mode 'cloudnativepg'")
        if not postgres_memory.fits(self.memory_mib, self.max_connections, reserved_mib=self._reserved_mib):
            least = postgres_memory.min_memory_mib(self.max_connections, reserved_mib=self._reserved_mib)
            problem = f"is too small for {self.max_connections} connections (maxConnections)"
            found["memoryMib"] = Conflict(problem, f"{set_command(f'{least} (or more)')}; or lower maxConnections")
        if found:
            raise SettingsConflict(found)
        return self

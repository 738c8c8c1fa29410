"""Backups of PostgreSQL's databases."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from settings.base import Conflict, Section, SettingsConflict, missing_enabled_key, set_command
from settings.offsite import OffsiteSettings
from settings.point_in_time import PointInTimeSettings

CRON_PATTERN = r"^[-0-9*,/]+( [-0-9*,/]+){4}$"


class DrillSettings(Section):
    """A scheduled restore of the newest backup into a temporary server, which compares it with what was backed up."""

    enabled: bool = Field(False, description="Whether the stack has the task `restore-drill`.")
    schedule: str = Field(
        "30 5 * * 0",
        pattern=CRON_PATTERN,
        examples=["30 5 * * 0"],
        description="When the drill runs, as `schedule` of the backups. It should end before the next backup begins.",
    )
    max_age_hours: int = Field(
        176,
        ge=1,
        le=8784,
        description="An alert fires if a database's last successful drill is older, with `monitoring`. Set it with the "
        "schedule.",
    )
    storage_gib: int = Field(
        20,
        ge=1,
        le=65_536,
        description="Size of the drill's volume in GiB. It can grow, but not shrink. It must have room for the largest "
        "database with its indexes and WAL. On Docker, volumes share the engine's disk.",
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if found := missing_enabled_key(self):
            raise SettingsConflict(found)
        return self


class BackupsSettings(Section):
    """Logical backups of PostgreSQL's databases (pg_dump), in every mode of `postgres`, on a volume of their own."""

    enabled: bool = Field(
        False, description="Whether backups are taken. Turning them off keeps the volume with its backups."
    )
    schedule: str = Field(
        "30 2 * * *",
        pattern=CRON_PATTERN,
        examples=["30 2 * * *"],
        description="When a backup is taken: a cron expression of five fields in UTC, with numbers only.",
    )
    keep_count: int = Field(7, ge=1, le=1000, description="Number of the newest backups that are kept in any case.")
    keep_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="Backups up to this age are kept as well, in days. Older ones are deleted after "
        "the next successful backup.",
    )
    storage_gib: int = Field(
        10,
        ge=1,
        le=65_536,
        description="Size of the volume in GiB. It can grow, but not shrink. It must have room for the kept backups "
        "and one more. On Docker, volumes share the engine's disk.",
    )

    max_age_hours: int = Field(
        26,
        ge=1,
        le=8760,
        description="An alert fires if a database's last backup is older, with `monitoring`. Set it with the schedule.",
    )
    drill: DrillSettings = Field(default_factory=DrillSettings, description="The restore drill.")
    point_in_time: PointInTimeSettings = Field(
        default_factory=PointInTimeSettings,
        description="Recovery to any time: base backups of the server's files, and all changes since them.",
    )

    offsite: OffsiteSettings = Field(default_factory=OffsiteSettings, description="Copies off the machine.")

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        found = missing_enabled_key(self)
        if self.drill.enabled and not found and not self.enabled:
            found["drill.enabled"] = Conflict("is true, but the stack takes no backups", set_command("false"))
        if self.offsite.enabled and not self.enabled:
            problem = "is true, but there are no backups to copy"
            found["offsite.enabled"] = Conflict(problem, f"{set_command('false')}; or turn backups.enabled on")
        if found:
            raise SettingsConflict(found)
        return self

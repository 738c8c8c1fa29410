"""Recovery of PostgreSQL to a point in time."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from settings.base import Section, SettingsConflict, missing_enabled_key


class PointInTimeSettings(Section):
    """Base backups of the server's files and the WAL since them, on a volume of their own. Only for the server that the
    stack runs itself (`postgres.mode: single`)."""

    enabled: bool = Field(
        False,
        description="Whether every change is archived, so that databases can be recovered to any time. Requires "
        "`backups.enabled`, and `postgres.mode: single`. A change may restart the server. Turning it off keeps the "
        "volume.",
    )
    schedule: str = Field(
        "0 1 * * *",
        pattern=r"^[-0-9*,/]+( [-0-9*,/]+){4}$",
        examples=["0 1 * * *"],
        description="When a base backup is taken: a cron expression of five fields in UTC, with numbers only. A "
        "recovery replays the changes since the last base backup, so it takes longer if they are less frequent.",
    )
    keep_count: int = Field(
        2, ge=1, le=1000, description="Number of the newest base backups that are kept in any case."
    )
    keep_days: int = Field(
        7,
        ge=1,
        le=3650,
        description="Every time of the last days can be recovered: older base backups and changes are deleted after "
        "the next successful base backup.",
    )
    storage_gib: int = Field(
        20,
        ge=1,
        le=65_536,
        description="Size of the volume in GiB. It can grow, but not shrink. It must have room for the kept base "
        "backups (uncompressed), one more, a copy of one during a recovery, and the changes. On Docker, volumes share "
        "the engine's disk.",
    )
    max_wal_gib: int = Field(
        2,
        ge=1,
        le=65_536,
        description="Changes in GiB that the server keeps on its own volume while the archive is unavailable. If there "
        "are more, the archive has a gap, and a new base backup is taken. At most half of `postgres.storageGib`. A "
        "change restarts the server.",
    )
    max_age_hours: int = Field(
        26,
        ge=1,
        le=8760,
        description="An alert fires if the last base backup is older, with `monitoring`. Set it with the schedule.",
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if found := missing_enabled_key(self):
            raise SettingsConflict(found)
        return self

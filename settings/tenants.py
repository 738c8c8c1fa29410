"""The scheduled audit of the isolation of tenants."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from settings.base import Section, SettingsConflict, missing_enabled_key


class TenantsSettings(Section):
    """The task that audits the isolation of tenants, exports a tenant's rows and erases them."""

    enabled: bool = Field(
        False,
        description="Whether the stack has the task `tenants`, which `python -m operations tenants` needs. It has the "
        "passwords of the backup role and the migrators.",
    )
    audit_schedule: str = Field(
        "15 4 * * *",
        pattern=r"^[-0-9*,/]+( [-0-9*,/]+){4}$",
        examples=["15 4 * * *"],
        description="When the audit runs: a cron expression of five fields in UTC, with numbers only. If it "
        "runs less than once a day, raise `monitoring.thresholds.tenantAuditHours`.",
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if found := missing_enabled_key(self):
            raise SettingsConflict(found)
        return self

"""Copies of the backups off the machine."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from settings.base import (
    Cidrs,
    Conflict,
    Image,
    Section,
    SettingsConflict,
    missing_enabled_key,
    set_command,
    unused_keys,
)
from settings.credential import Credential

VOLUME = "volume"
REPOSITORY_PATTERN = re.compile(
    r"s3:(?P<scheme>https?)://(?P<s3_host>[a-z0-9.-]+)(?::(?P<s3_port>\d{1,5}))?/[a-z0-9][a-z0-9.-]+(?:/[\w./-]+)?"
    r"|sftp://[\w.-]+@(?P<sftp_host>[a-z0-9.-]+)(?::(?P<sftp_port>\d{1,5}))?//?[\w./-]+"
)
"""An S3 bucket, or a directory on an SFTP server, as restic names them. Credentials in it would be visible."""

DEFAULT_PORTS = {"https": 443, "http": 80}

OFFSITE_PASSWORD = Credential(
    "offsitePassword", "OFFSITE_PASSWORD", None, "the encryption of the off-site copies: without it they are unreadable"
)
OFFSITE_ACCESS_KEY = Credential(
    "offsiteAccessKey", "OFFSITE_ACCESS_KEY", None, "the ID of the access key for the S3 bucket", third_party=True
)
OFFSITE_SECRET_KEY = Credential(
    "offsiteSecretKey", "OFFSITE_SECRET_KEY", None, "the secret access key for the S3 bucket", third_party=True
)
OFFSITE_SSH_KEY = Credential(
    "offsiteSshKey",
    "OFFSITE_SSH_KEY",
    None,
    "the private key for the SFTP server (OpenSSH)",
    is_pem=True,
    third_party=True,
)
HostKey = Annotated[
    str, Field(pattern=r"^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|rsa-sha2-(256|512)|ssh-rsa) [A-Za-z0-9+/]+=*$")
]


class OffsiteSettings(Section):
    """Encrypted copies of the backups, in a repository of restic."""

    enabled: bool = Field(
        False, description="Whether backups are copied off the machine. Turning it off keeps the copies."
    )
    schedule: str = Field(
        "0 5 * * *",
        pattern=r"^[-0-9*,/]+( [-0-9*,/]+){4}$",
        examples=["0 5 * * *"],
        description="When the backups are copied: a cron expression of five fields in UTC, with numbers only. Choose a "
        "time at which the backup has ended; a later one is copied by the next run.",
    )
    repository: str | None = Field(
        None,
        examples=["s3:https://s3.example.com/bucket/prod", "sftp://pti@backup.example.com//srv/pti"],
        description="Where the copies are: an S3 bucket, a directory on an SFTP server, or `volume`, a volume of the "
        "stack. A volume only helps if its storage isn't on this machine or in this cluster. Required.",
    )
    region: str | None = Field(
        None, pattern=r"^[a-z0-9-]+$", examples=["eu-west-3"], description="Region of the S3 bucket."
    )
    host_keys: tuple[HostKey, ...] = Field(
        (),
        strict=False,
        description="Public keys of the SFTP server, each as `ssh-ed25519 AAAA…`. `ssh-keyscan` prints them; compare "
        "them with the server's own. Required for SFTP.",
    )
    cidrs: Cidrs = Field(
        (), description="Address ranges of the server, which network policies allow. Default: any public address."
    )
    keep_daily: int = Field(30, ge=0, le=3660, description="Number of days whose last copy is kept.")
    keep_weekly: int = Field(8, ge=0, le=520, description="Number of weeks whose last copy is kept.")
    keep_monthly: int = Field(12, ge=0, le=240, description="Number of months whose last copy is kept.")
    add_only: bool = Field(
        False,
        description="Whether the credentials can add copies but not delete any: no run deletes old copies, and the "
        "settings of how many are kept have no effect. See [offsite.md](offsite.md#credentials-that-cant-delete).",
    )
    check_runs: int = Field(
        30, ge=1, le=366, description="Each run reads one of so many parts of the copies and compares their checksums."
    )
    max_age_hours: int = Field(
        30,
        ge=1,
        le=8760,
        description="An alert fires if the newest backup in the repository is older, with `monitoring`. Set it with "
        "the schedules of the backups and of the copies.",
    )
    storage_gib: int = Field(
        10, ge=1, le=65_536, description="Size of the volume in GiB, with the repository `volume`."
    )
    allow_fetch: bool = Field(
        False,
        description="Whether the task may write to the volume of the backups, which `backups fetch` needs. Otherwise "
        "it is mounted read-only.",
    )
    memory_mib: int = Field(
        768, ge=512, le=65_536, description="Memory limit in MiB. A third is for restic's files under way."
    )
    image: Image = Field("restic/restic:0.19.1", description="Image of restic, 0.17.1 or newer.")

    @property
    def is_s3(self) -> bool:
        """Return whether the repository is an S3 bucket."""
        return (self.repository or "").startswith("s3:")

    @property
    def is_sftp(self) -> bool:
        """Return whether the repository is on an SFTP server."""
        return (self.repository or "").startswith("sftp:")

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """Return the credentials of the repository."""
        if not self.enabled:
            return ()
        s3 = (OFFSITE_ACCESS_KEY, OFFSITE_SECRET_KEY) if self.is_s3 else ()
        return (OFFSITE_PASSWORD, *s3, *((OFFSITE_SSH_KEY,) if self.is_sftp else ()))

    @property
    def server(self) -> tuple[str, int] | None:
        """Return the host and the port of the repository; None for a volume."""
        found = REPOSITORY_PATTERN.fullmatch(self.repository or "")
        if not found:
            return None
        if found["s3_host"]:
            return found["s3_host"], int(found["s3_port"] or DEFAULT_PORTS[found["scheme"]])
        return found["sftp_host"], int(found["sftp_port"] or 22)

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        found = missing_enabled_key(self)
        if self.enabled and self.repository is None:
            found["repository"] = Conflict("is required", set_command("REPOSITORY"))
        elif self.repository not in (None, VOLUME) and not REPOSITORY_PATTERN.fullmatch(str(self.repository)):
            found["repository"] = Conflict(
                "is neither 'volume', nor 's3:https://HOST/BUCKET', nor 'sftp://USER@HOST//DIRECTORY'. A password in "
                "it would be visible",
                set_command("REPOSITORY"),
            )
        if self.is_sftp and not self.host_keys:
            found["hostKeys"] = Conflict(
                "is required for SFTP: the server would not be verified", "list the keys that ssh-keyscan prints"
            )
        for field, applies, reason in (
            ("host_keys", self.is_sftp, "without an SFTP server"),
            ("region", self.is_s3, "without an S3 bucket"),
            ("cidrs", self.server is not None, "without a server"),
            ("storage_gib", self.repository == VOLUME, "without the repository 'volume'"),
        ):
            if not applies and "repository" not in found:
                found |= unused_keys(self, [field], reason=reason)
        if self.add_only:
            found |= unused_keys(self, ["keep_daily", "keep_weekly", "keep_monthly"], reason="with addOnly")
        if found:
            raise SettingsConflict(found)
        return self

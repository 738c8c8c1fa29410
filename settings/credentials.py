"""The credentials of the stack: their names everywhere, and where each comes from.

Values never pass through here or through the settings models; `components.credentials` turns a name into a secret
output.
"""

from __future__ import annotations

from dataclasses import dataclass

from settings.catalog import SERVICES, Service


@dataclass(frozen=True)
class Credential:
    """One secret value: its configuration key, its variable in an environment file, its well-known value."""

    key: str
    """Top-level configuration key: `pulumi config set --secret pti-calendar:<key>` supplies the value."""

    variable: str
    """Name in an environment file, for the rendered stack."""

    well_known: str | None
    """The value everyone knows, used when `credentials` is `well-known`; None stands for no password at all."""

    purpose: str
    """What it opens."""


POSTGRES_ADMIN = Credential("postgresPassword", "POSTGRES_PASSWORD", "postgres", "PostgreSQL's superuser postgres")
POSTGRES_BACKUP = Credential(
    "postgresBackupPassword", "POSTGRES_BACKUP_PASSWORD", "pti_backup", "PostgreSQL's role pti_backup"
)
REDIS = Credential("redisPassword", "REDIS_PASSWORD", None, "Redis")
JWT = Credential(
    "jwtSecret", "JWT_SECRET", "pti-calendar-development-jwt-secret", "the key that signs the platform's JWTs"
)
PGADMIN = Credential("pgAdminPassword", "PGADMIN_PASSWORD", "admin", "pgAdmin's one user")


def app_role(service: Service) -> Credential:
    """The credential of the role a service runs as."""
    return _role(service, "app")


def migrator_role(service: Service) -> Credential:
    """The credential of the role that runs a service's migrations."""
    return _role(service, "migrator")


def _role(service: Service, role: str) -> Credential:
    return Credential(
        key=f"{service.name}{role.capitalize()}Password",
        variable=f"{service.name}_{role}_password".upper(),
        well_known=f"{service.database}_{role}",
        purpose=f"PostgreSQL's role {service.database}_{role}",
    )


CREDENTIALS: tuple[Credential, ...] = (
    POSTGRES_ADMIN,
    POSTGRES_BACKUP,
    REDIS,
    JWT,
    PGADMIN,
    *(role(service) for service in SERVICES for role in (app_role, migrator_role)),
)

"""The credentials of the stack: their names, and the source of each value.

Values never pass through here or through the settings models; `components.credentials` turns a name into a secret
output.
"""

from __future__ import annotations

import re
from typing import Literal

from settings.catalog import SERVICES, ServiceSpec, ThirdPartySecret
from settings.credential import Credential
from settings.models import Settings
from settings.offsite import OFFSITE_ACCESS_KEY, OFFSITE_PASSWORD, OFFSITE_SECRET_KEY, OFFSITE_SSH_KEY
from settings.stores import store_sections

OFFSITE_CREDENTIALS = (OFFSITE_PASSWORD, OFFSITE_ACCESS_KEY, OFFSITE_SECRET_KEY, OFFSITE_SSH_KEY)

JWT = Credential(
    "jwtSecret", "JWT_SECRET", "pti-calendar-development-jwt-secret", "the key that signs the platform's JWTs"
)
POSTGRES_MONITOR = Credential(
    "postgresMonitorPassword", "POSTGRES_MONITOR_PASSWORD", "pti_monitor", "PostgreSQL's role pti_monitor"
)
POSTGRES_ARCHIVE = Credential(
    "postgresArchivePassword", "POSTGRES_ARCHIVE_PASSWORD", "pti_archive", "PostgreSQL's role pti_archive"
)
GRAFANA = Credential("grafanaPassword", "GRAFANA_ADMIN_PASSWORD", "admin", "Grafana's user admin")
ALERT_EMAIL = Credential(
    "alertEmailPassword", "ALERT_EMAIL_PASSWORD", None, "the mail server for alerts", third_party=True
)
ALERT_WEBHOOK = Credential(
    "alertWebhookUrl", "ALERT_WEBHOOK_URL", None, "the URL that alerts are sent to", third_party=True
)
HEARTBEAT_WEBHOOK = Credential(
    "heartbeatWebhookUrl", "HEARTBEAT_WEBHOOK_URL", None, "the URL that the heartbeat is sent to", third_party=True
)
PGADMIN = Credential("pgAdminPassword", "PGADMIN_PASSWORD", "admin", "pgAdmin's one user")


def app_role_credential(service: ServiceSpec) -> Credential:
    """Return the credential of the role that a service runs as."""
    return _role_credential(service, "app")


def migrator_role_credential(service: ServiceSpec) -> Credential:
    """Return the credential of the role that runs a service's migrations."""
    return _role_credential(service, "migrator")


def third_party(secret: ThirdPartySecret) -> Credential:
    """Return the credential for a third party that a service uses."""
    # For example, STRIPE_SECRET_KEY for stripeSecretKey. Its well-known value isn't a valid key, because a laptop calls
    # no third party.
    variable = re.sub(r"(?=[A-Z])", "_", secret.key).upper()
    return Credential(secret.key, variable, "development", secret.purpose, third_party=True)


def _role_credential(service: ServiceSpec, role: Literal["app", "migrator"]) -> Credential:
    return Credential(
        key=f"{service.name}{role.capitalize()}Password",
        variable=f"{service.name}_{role}_password".upper(),
        well_known=service.role(role),
        purpose=f"PostgreSQL's role {service.role(role)}",
    )


CREDENTIALS: tuple[Credential, ...] = (
    *(one for section in store_sections(Settings) for one in section.credentials),
    JWT,
    PGADMIN,
    POSTGRES_MONITOR,
    POSTGRES_ARCHIVE,
    GRAFANA,
    ALERT_EMAIL,
    ALERT_WEBHOOK,
    HEARTBEAT_WEBHOOK,
    *OFFSITE_CREDENTIALS,
    *(third_party(secret) for service in SERVICES for secret in service.secrets),
    *(role(service) for service in SERVICES for role in (app_role_credential, migrator_role_credential)),
)


def unreadable_reason(credential: Credential, value: str) -> str | None:
    """Return why the program that uses a value can't read it; None if it can."""
    # postgres_exporter splits its connection string at spaces ("malformed dsn").
    if credential is POSTGRES_MONITOR and " " in value:
        return "contains a space, which PostgreSQL's exporter (monitoring.enabled) can't parse"
    return None


def required_credentials(settings: Settings) -> tuple[Credential, ...]:
    """Return the credentials that the stack's components need."""
    third_parties = {third_party(secret) for service in SERVICES for secret in service.secrets}
    # These include the secrets of a service in an editor, which gets them from `make env`.
    unused = third_parties - {third_party(secret) for one in settings.services.enabled for secret in one.secrets}
    if not settings.dev_tools.enabled:
        unused.add(PGADMIN)
    if not settings.monitoring.enabled:
        unused |= {POSTGRES_MONITOR, GRAFANA}
    if not settings.backups.point_in_time.enabled:
        unused.add(POSTGRES_ARCHIVE)
    receivers = settings.monitoring.receivers
    for credential, used in (
        (ALERT_EMAIL, receivers.email.username is not None),
        (ALERT_WEBHOOK, receivers.webhook),
        (HEARTBEAT_WEBHOOK, receivers.heartbeat),
    ):
        if not (used and settings.monitoring.enabled):
            unused.add(credential)
    unused |= {*OFFSITE_CREDENTIALS} - {*settings.backups.offsite.credentials}
    if settings.credentials == "generated" and settings.backups.offsite.repository:
        # Also while the copies are turned off: a new password couldn't read those in the repository.
        unused.discard(OFFSITE_PASSWORD)
    unused |= {one for store in settings.stores.values() for one in store.unused_credentials}
    return tuple(one for one in CREDENTIALS if one not in unused)


def supplied_credentials(settings: Settings) -> tuple[Credential, ...]:
    """Return the required credentials that the stack can't generate: those of third parties and external servers."""
    servers = {
        **{store.login: store.is_external for store in settings.stores.values()},
        # These credentials have no well-known value.
        **dict.fromkeys((ALERT_EMAIL, ALERT_WEBHOOK, HEARTBEAT_WEBHOOK, *OFFSITE_CREDENTIALS), True),
        OFFSITE_PASSWORD: settings.credentials == "well-known",
    }
    return tuple(
        one
        for one in required_credentials(settings)
        if servers.get(one, one.third_party and settings.credentials == "generated")
    )

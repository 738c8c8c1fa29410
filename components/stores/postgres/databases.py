"""The task that provisions the services' databases, roles and grants."""

from __future__ import annotations

import contract.outputs as contract
from components.assets import asset, assets
from components.stores.postgres.server import SECRETS_DIRECTORY, UID
from components.stores.store import StoreArgs
from settings import postgres_connections
from settings.applications import ServicesSettings
from settings.catalog import SERVICES
from settings.credentials import POSTGRES_ARCHIVE, POSTGRES_MONITOR, app_role_credential, migrator_role_credential
from settings.stores.postgres import POSTGRES_ADMIN, POSTGRES_BACKUP
from workloads import Endpoint, ExternalEndpoint, FileSet, Scratch, Task

TASK_NAME = "databases"
BACKUP_ROLE = "pti_backup"
MONITOR_ROLE = "pti_monitor"
ARCHIVE_ROLE = "pti_archive"

Connections = tuple[Endpoint | ExternalEndpoint, ...]


def connection_variables(login: contract.PostgresOutput) -> dict[str, str]:
    """Return libpq's variables for a connection to the server, without the login."""
    return {
        "PGHOST": login.host,
        "PGPORT": str(login.port),
        "PGSSLMODE": login.ssl_mode,
        # A managed server's certificate is signed by a CA that the system trusts.
        **({"PGSSLROOTCERT": "system"} if login.ssl_mode == "verify-full" else {}),
    }


def databases(
    args: StoreArgs, connects_to: Connections, login: contract.PostgresOutput, *, depends_on: tuple[str, ...]
) -> Task:
    """Return the task, which creates missing objects, corrects different ones, and drops nothing.

    Args:
        login: the server's address, and the role to log in as.
        depends_on: the server's workload, if the stack runs it.
    """
    settings, services, credentials = args.settings.postgres, args.settings.services, args.credentials
    roles = {service.role("app"): app_role_credential(service) for service in SERVICES}
    roles |= {service.role("migrator"): migrator_role_credential(service) for service in SERVICES}
    passwords = {role: credentials[credential] for role, credential in roles.items()}
    if credentials.has(POSTGRES_MONITOR):
        passwords[MONITOR_ROLE] = credentials[POSTGRES_MONITOR]
    if credentials.has(POSTGRES_ARCHIVE):
        passwords[ARCHIVE_ROLE] = credentials[POSTGRES_ARCHIVE]
    return Task(
        name=TASK_NAME,
        image=settings.image,
        user=UID,
        command=("sh", "/assets/provision.sh"),
        environment={
            **connection_variables(login),
            "PGUSER": login.admin_role,
            # Retained servers have the previous stack's password until the operator has applied this one's.
            **({"PROVISION_LOGIN_WAIT_S": "60"} if settings.mode == "cloudnativepg" else {}),
            "PGPASSWORD_FILE": f"{SECRETS_DIRECTORY}/password",
            "PROVISION_MIGRATOR_CONNECTIONS": str(postgres_connections.MIGRATOR_CONNECTIONS),
            "PROVISION_BACKUP_CONNECTIONS": str(postgres_connections.BACKUP_CONNECTIONS),
            "PROVISION_MONITOR_CONNECTIONS": str(postgres_connections.MONITOR_CONNECTIONS),
            # The settings know max_connections of the stack's own server, but not of an external one.
            **({"PROVISION_REQUIRE_CONNECTIONS": "true"} if settings.mode == "external" else {}),
            "PROVISION_TABLE": "/etc/provisioning/databases",
            "PROVISION_PASSWORDS_DIR": "/run/secrets/roles",
        },
        file_sets=(
            FileSet(
                name="scripts",
                directory="/assets",
                files={"provision.sh": asset("postgres/provision.sh"), **assets("postgres", "*.sql")},
            ),
            FileSet(name="table", directory="/etc/provisioning", files={"databases": database_table(services)}),
            FileSet(
                name="admin", directory=SECRETS_DIRECTORY, files={"password": credentials[POSTGRES_ADMIN]}, secret=True
            ),
            FileSet(
                name="roles",
                directory="/run/secrets/roles",
                files={**passwords, BACKUP_ROLE: credentials[POSTGRES_BACKUP]},
                secret=True,
            ),
        ),
        scratch=(
            Scratch(path="/tmp"),  # noqa: S108 - a mount of its own
            # The image declares this directory as a volume.
            Scratch(path="/var/lib/postgresql", size_mib=1),
        ),
        memory_mib=64,
        depends_on=depends_on,
        connects_to=connects_to,
    )


def database_table(services: ServicesSettings) -> str:
    """Return the table of the databases that the scripts read."""
    return "".join(
        f"{service.name} {service.database} {postgres_connections.application_role_limit(services, service)}\n"
        for service in SERVICES
    )

"""The task that audits the isolation of tenants, exports a tenant's rows and erases them."""

from __future__ import annotations

import contract.outputs as contract
from components.assets import asset
from components.stores.postgres.databases import (
    BACKUP_ROLE,
    TASK_NAME,
    Connections,
    connection_variables,
    database_table,
)
from components.stores.postgres.server import UID
from components.stores.store import StoreArgs
from settings.catalog import SERVICES
from settings.credentials import migrator_role_credential
from settings.stores.postgres import POSTGRES_BACKUP
from workloads import FileSet, ScheduledTask, Scratch

TENANTS_TASK = "tenants"
TABLE_DIRECTORY, PASSWORDS_DIRECTORY = "/etc/tenants", "/run/secrets/roles"
SCRIPT_VARIABLES = {"TENANTS_TABLE": f"{TABLE_DIRECTORY}/databases", "TENANTS_PASSWORDS_DIR": PASSWORDS_DIRECTORY}
SCRIPT = ("sh", "/assets/tenants.sh")
FILES = ("tenants.sh", "export.sql")


def tenants(args: StoreArgs, connects_to: Connections, login: contract.PostgresOutput) -> ScheduledTask:
    """Return the task, whose scheduled runs audit. `operations/tenants.py` runs its other commands.

    Args:
        login: the server's address.
    """
    return ScheduledTask(
        name=TENANTS_TASK,
        image=args.settings.postgres.image,
        user=UID,
        command=(*SCRIPT, "audit"),
        schedule=args.settings.tenants.audit_schedule,
        environment={**connection_variables(login), **SCRIPT_VARIABLES},
        file_sets=(
            FileSet(name="scripts", directory="/assets", files={name: asset(f"postgres/{name}") for name in FILES}),
            *script_file_sets(args),
        ),
        scratch=(
            Scratch(path="/tmp"),  # noqa: S108 - a mount of its own
            # The image declares this directory as a volume.
            Scratch(path="/var/lib/postgresql", size_mib=1),
        ),
        memory_mib=64,
        depends_on=(TASK_NAME,),
        connects_to=connects_to,
    )


def script_file_sets(args: StoreArgs) -> tuple[FileSet, ...]:
    """Return the files to which `SCRIPT_VARIABLES` refer: the table of the databases, and the passwords."""
    credentials = args.credentials
    passwords = {service.role("migrator"): credentials[migrator_role_credential(service)] for service in SERVICES}
    passwords[BACKUP_ROLE] = credentials[POSTGRES_BACKUP]
    return (
        FileSet(name="table", directory=TABLE_DIRECTORY, files={"databases": database_table(args.settings.services)}),
        FileSet(name="roles", directory=PASSWORDS_DIRECTORY, files=passwords, secret=True),
    )

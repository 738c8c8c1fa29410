"""The scheduled task that backs up the databases. Its container also lists, verifies and restores backups."""

from __future__ import annotations

import contract.outputs as contract
from components.assets import asset, assets
from components.credentials import Credentials
from components.stores.postgres.databases import BACKUP_ROLE, TASK_NAME, Connections, connection_variables
from components.stores.postgres.server import UID
from components.stores.postgres.tenants import SCRIPT_VARIABLES, script_file_sets
from components.stores.store import StoreArgs
from settings.catalog import SERVICES
from settings.stores.postgres import POSTGRES_ADMIN, POSTGRES_BACKUP
from workloads import FileSet, ScheduledTask, Scratch, Volume

BACKUP_TASK = "backup"
SCRIPTS_DIRECTORY = "/assets"
MOUNT = "/var/lib/postgresql"
"""Mount point of the volume. The image's user owns this directory, so a new volume on Docker belongs to that user."""

BACKUP_VOLUME, BACKUPS_FOLDER = "backup-data", "backups"
BACKUPS_DIRECTORY = f"{MOUNT}/{BACKUPS_FOLDER}"
"""Directory of the backups: not the root of the volume, which contains `lost+found` on ext4."""

ERASED_FILE = f"{MOUNT}/erased-tenants"
"""The list of erased tenants. It outlives the server, and the databases that a restore replaces."""

ROLE_DIRECTORY = "/run/secrets/backup"
BACKUP_TIMEOUT_S = 6 * 3600


def backup(args: StoreArgs, connects_to: Connections, login: contract.PostgresOutput) -> ScheduledTask:
    """Return the task. It logs in as the backup role; only a restore logs in as the administrator.

    Args:
        login: the server's address, and its roles.
    """
    settings = args.settings.backups
    return ScheduledTask(
        name=BACKUP_TASK,
        image=args.settings.postgres.image,
        user=UID,
        command=("sh", f"{SCRIPTS_DIRECTORY}/backup.sh"),
        environment={
            **restore_environment(login, BACKUPS_FOLDER),
            "BACKUP_DATABASES": databases_of_backup(),
            "BACKUP_KEEP_COUNT": str(settings.keep_count),
            "BACKUP_KEEP_DAYS": str(settings.keep_days),
        },
        file_sets=(
            FileSet(
                name="scripts",
                directory=SCRIPTS_DIRECTORY,
                files=restore_scripts(),
            ),
            *restore_file_sets(args),
        ),
        scratch=(Scratch(path="/tmp"),),  # noqa: S108 - a mount of its own
        volumes=(Volume(name=BACKUP_VOLUME, mount=MOUNT, size_gib=settings.storage_gib),),
        memory_mib=256,
        depends_on=(TASK_NAME,),
        connects_to=connects_to,
        schedule=settings.schedule,
        timeout_s=BACKUP_TIMEOUT_S,
    )


def password_variables() -> dict[str, str]:
    """Return the variables with the backup role and the file of `password_file_set`."""
    return {"BACKUP_USER": BACKUP_ROLE, "BACKUP_PASSWORD_FILE": f"{ROLE_DIRECTORY}/password"}


def password_file_set(credentials: Credentials) -> FileSet:
    """Return the file with the backup role's password."""
    files = {"password": credentials[POSTGRES_BACKUP]}
    return FileSet(name="backup", directory=ROLE_DIRECTORY, files=files, secret=True)


def databases_of_backup() -> str:
    """Return the names of the databases that must exist, separated by spaces."""
    return " ".join(service.database for service in SERVICES)


def restore_environment(login: contract.PostgresOutput, directory: str) -> dict[str, str]:
    """Return the variables of backup.sh and restore.sh.

    Args:
        login: the server's address, and its roles.
        directory: name of the directory of the backups on the volume.
    """
    return {
        **connection_variables(login),
        **password_variables(),
        "ADMIN_USER": login.admin_role,
        "ADMIN_PASSWORD_FILE": "/run/secrets/admin/password",
        "BACKUP_DIR": f"{MOUNT}/{directory}",
        **SCRIPT_VARIABLES,
        "TENANTS_ERASED_FILE": ERASED_FILE,
    }


def restore_scripts() -> dict[str, str]:
    """Return the scripts that back up and restore."""
    return {**assets("postgres/backup"), "tenants.sh": asset("postgres/tenants.sh")}


def restore_file_sets(args: StoreArgs) -> tuple[FileSet, ...]:
    """Return the files to which `restore_environment` refers."""
    return (
        # A restore deletes the rows of erased tenants, as the owners of the databases.
        *script_file_sets(args),
        password_file_set(args.credentials),
        FileSet(
            name="admin",
            directory="/run/secrets/admin",
            files={"password": args.credentials[POSTGRES_ADMIN]},
            secret=True,
        ),
    )

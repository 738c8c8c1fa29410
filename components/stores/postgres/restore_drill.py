"""The scheduled task that restores the newest backup into a temporary server of its own, and compares it."""

from __future__ import annotations

import contract.outputs as contract
from components.assets import assets
from components.stores.postgres.backup import (
    BACKUP_TASK,
    BACKUP_TIMEOUT_S,
    BACKUP_VOLUME,
    BACKUPS_FOLDER,
    SCRIPTS_DIRECTORY,
    databases_of_backup,
    password_file_set,
    password_variables,
)
from components.stores.postgres.databases import TASK_NAME, Connections, connection_variables
from components.stores.postgres.server import UID
from components.stores.store import StoreArgs
from workloads import FileSet, ScheduledTask, Scratch, SharedVolume, Volume

DRILL_TASK = "restore-drill"
MOUNT = "/var/lib/postgresql"
"""Mount point of the drill's volume. The image's user owns this directory, so a new volume on Docker belongs to that
user."""

BACKUPS_MOUNT = "/backups"


def restore_drill(args: StoreArgs, connects_to: Connections, login: contract.PostgresOutput) -> ScheduledTask:
    """Return the task. It reads the volume of the task `backup`, and logs in as the backup role only to record its
    result.

    Args:
        login: the server's address.
    """
    settings = args.settings.backups.drill
    return ScheduledTask(
        name=DRILL_TASK,
        image=args.settings.postgres.image,
        user=UID,
        command=("sh", f"{SCRIPTS_DIRECTORY}/drill.sh"),
        environment={
            **connection_variables(login),
            **password_variables(),
            "BACKUP_DIR": f"{BACKUPS_MOUNT}/{BACKUPS_FOLDER}",
            "BACKUP_DATABASES": databases_of_backup(),
            # Not the root of the volume, which contains `lost+found` on ext4.
            "DRILL_DIR": f"{MOUNT}/drill",
        },
        file_sets=(
            FileSet(name="scripts", directory=SCRIPTS_DIRECTORY, files=assets("postgres/backup")),
            password_file_set(args.credentials),
        ),
        scratch=(Scratch(path="/tmp"),),  # noqa: S108 - a mount of its own
        volumes=(Volume(name="drill-data", mount=MOUNT, size_gib=settings.storage_gib),),
        shared_volumes=(SharedVolume(owner=BACKUP_TASK, name=BACKUP_VOLUME, mount=BACKUPS_MOUNT),),
        memory_mib=384,
        depends_on=(TASK_NAME,),
        connects_to=connects_to,
        schedule=settings.schedule,
        timeout_s=BACKUP_TIMEOUT_S,
    )

"""The workload that archives the server's changes: WAL all the time, and base backups by a schedule. Its container also
recovers databases to a point in time."""

from __future__ import annotations

import contract.outputs as contract
from components.assets import asset, assets
from components.stores.postgres.backup import (
    MOUNT,
    SCRIPTS_DIRECTORY,
    restore_environment,
    restore_file_sets,
    restore_scripts,
)
from components.stores.postgres.databases import TASK_NAME, Connections
from components.stores.postgres.server import UID
from components.stores.store import StoreArgs
from settings.credentials import POSTGRES_ARCHIVE
from workloads import Exec, FileSet, Probe, Scratch, StatefulService, Volume

ARCHIVE = "archive"
SCHEDULER = f"{SCRIPTS_DIRECTORY}/scheduler.sh"


def archive(args: StoreArgs, connects_to: Connections, login: contract.PostgresOutput) -> StatefulService:
    """Return the workload. It logs in as the archive role; only a recovery uses the other passwords.

    Args:
        args: the arguments of the store.
        connects_to: the server.
        login: the server's address, and its roles.
    """
    settings = args.settings.backups.point_in_time
    return StatefulService(
        name=ARCHIVE,
        image=args.settings.postgres.image,
        user=UID,
        command=("sh", f"{SCRIPTS_DIRECTORY}/archive.sh"),
        environment={
            # A recovery writes backups of the recovered databases there.
            **restore_environment(login, "recovered"),
            "ARCHIVE_DIR": f"{MOUNT}/archive",
            "ARCHIVE_PASSWORD_FILE": "/run/secrets/archive/password",
            "ARCHIVE_SCHEDULE": settings.schedule,
            "ARCHIVE_KEEP_COUNT": str(settings.keep_count),
            "ARCHIVE_KEEP_DAYS": str(settings.keep_days),
        },
        file_sets=(
            FileSet(
                name="scripts",
                directory=SCRIPTS_DIRECTORY,
                files={
                    **restore_scripts(),
                    **assets("postgres/archive"),
                    "scheduler.sh": asset("schedule/scheduler.sh"),
                },
            ),
            *restore_file_sets(args),
            FileSet(
                name="archive",
                directory="/run/secrets/archive",
                files={"password": args.credentials[POSTGRES_ARCHIVE]},
                secret=True,
            ),
        ),
        scratch=(Scratch(path="/tmp"),),  # noqa: S108 - a mount of its own
        volumes=(Volume(name="archive-data", mount=MOUNT, size_gib=settings.storage_gib),),
        # A recovery runs a server.
        memory_mib=512,
        readiness=Probe(check=Exec(command=("sh", f"{SCRIPTS_DIRECTORY}/ready.sh"))),
        depends_on=(TASK_NAME,),
        connects_to=connects_to,
    )

"""Backups of a stack: take one now, list and verify them, prove that one can be restored, restore.

Each command runs a script in a container of the stack (`assets/postgres/backup/`), which has the volume, the address of
PostgreSQL and the passwords.
"""

from __future__ import annotations

from components.stores.postgres.backup import BACKUP_TASK, SCRIPTS_DIRECTORY
from components.stores.postgres.restore_drill import DRILL_TASK
from operations.configuration import read_configuration
from operations.confirmation import NOT_CONFIRMED, require_typed_name, typed
from operations.project import OperationError
from operations.runtimes import runtime_of
from settings.base import NAMESPACE


def backup(stack: str) -> int:
    """Take a backup now. Return the script's exit code."""
    _require_backups(stack)
    return runtime_of(stack).run_task(stack, BACKUP_TASK, None)


def list_backups(stack: str, *, as_json: bool) -> int:
    """Print the backups, the oldest first. Return the script's exit code."""
    return run_script(stack, "backups.sh", "list", *(["--json"] if as_json else []))


def verify(stack: str, backup: str | None) -> int:
    """Verify one backup, or all. Return the script's exit code: 1 if one is damaged."""
    return run_script(stack, "backups.sh", "verify", *([backup] if backup else []))


def drill(stack: str) -> int:
    """Restore the newest backup into a temporary server and compare it. Return the script's exit code.

    Raises:
        OperationError: the stack has no drill, or the task doesn't start.
    """
    _require_backups(stack)
    if not read_configuration(stack)[0].backups.drill.enabled:
        raise OperationError(
            f"Stack '{stack}' has no restore drill. Turn it on, and bring the stack up:\n"
            f"  pulumi config set --path {NAMESPACE}:backups.drill.enabled true"
        )
    return runtime_of(stack).run_task(stack, DRILL_TASK, None)


def restore(stack: str, database: str | None, backup: str | None, *, confirmed: bool) -> int:
    """Print what a restore would replace, and restore after a typed confirmation. Return the script's exit code.

    Args:
        stack: its name.
        database: the database; None: all of the backup.
        backup: the backup's name; None: the newest.
        confirmed: whether to skip the typed confirmation.

    Raises:
        OperationError: not confirmed, or `confirmed` without the backup's name: the newest one may be another by then.
    """
    if confirmed and backup is None:
        raise OperationError("--yes requires --from: name the backup. The command `backups list` prints the names.")
    confirmation = str(backup)
    if not confirmed:
        status = run_script(stack, "restore.sh", *_choice(database, backup))
        if status:
            return status
        confirmation = typed("Type the name of the backup to replace the databases: ")
        if not confirmation or backup not in (None, confirmation):
            raise OperationError(NOT_CONFIRMED)
    # The script refuses another name than that of the chosen backup. So the newest one is only restored if it is still
    # the one that was printed.
    return run_script(stack, "restore.sh", *_choice(database, backup), "--confirm", confirmation)


def rehearse(stack: str, database: str | None, backup: str | None) -> int:
    """Restore beside the existing databases, compare the rows, and drop the restored ones. Return the script's exit
    code."""
    return run_script(stack, "restore.sh", *_choice(database, backup), "--rehearse")


def drop_replaced(stack: str, *, confirmed: bool) -> int:
    """Drop the databases that restores have replaced, after a typed confirmation. Return the script's exit code."""
    _require_backups(stack)
    if not confirmed:
        require_typed_name(stack)
    return run_script(stack, "restore.sh", "--drop-replaced")


def _choice(database: str | None, backup: str | None) -> list[str]:
    """Return the script's arguments for a database, or all, of a backup, or the newest."""
    return [*(["--database", database] if database else ["--all"]), *(["--from", backup] if backup else [])]


def run_script(stack: str, script: str, *arguments: str) -> int:
    """Run one of the scripts in the task's container. Return its exit code.

    Raises:
        OperationError: the stack has no backups, or the script doesn't start.
    """
    _require_backups(stack)
    command = ["sh", f"{SCRIPTS_DIRECTORY}/{script}", *arguments]
    return runtime_of(stack).run_task(stack, BACKUP_TASK, command)


def _require_backups(stack: str) -> None:
    settings, _ = read_configuration(stack)
    if not settings.backups.enabled:
        raise OperationError(
            f"Stack '{stack}' has no backups. Turn them on: pulumi config set --path {NAMESPACE}:backups.enabled true\n"
            "Then update the stack."
        )

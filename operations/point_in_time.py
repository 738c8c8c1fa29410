"""Recovery of databases to a point in time. The scripts in `assets/postgres/archive/` run in the container of the
workload `archive`."""

from __future__ import annotations

from components.stores.postgres.archive import ARCHIVE, SCHEDULER
from components.stores.postgres.backup import SCRIPTS_DIRECTORY
from operations.configuration import read_configuration
from operations.confirmation import NOT_CONFIRMED, typed
from operations.project import OperationError
from operations.runtimes import runtime_of
from settings.base import NAMESPACE


def take_base_backup(stack: str) -> int:
    """Take a base backup now. Return the script's exit code."""
    return _run(stack, "sh", SCHEDULER, "run")


def list_points(stack: str, *, as_json: bool, verify: bool) -> int:
    """Print the recoverable times per base backup. Return the script's exit code: 1 if changes are missing or, with
    `verify`, if something is damaged."""
    options = [*(["--json"] if as_json else []), *(["--verify"] if verify else [])]
    return _run(stack, *_script("points.sh", *options))


def recover(stack: str, to: str, database: str | None, *, confirmed: bool) -> int:
    """Recover databases, print what they would replace, and replace after a typed confirmation. Return the script's
    exit code.

    Args:
        stack: its name.
        to: the time in UTC, or `latest`.
        database: the database; None: all.
        confirmed: whether to skip the typed confirmation.

    Raises:
        OperationError: not confirmed.
    """
    choice = ["--database", database] if database else ["--all"]
    run = ["sh", SCHEDULER, "run"]
    status = _run(stack, *run, *_script("recover.sh", "--to", to, *choice, *(["--confirm"] if confirmed else [])))
    if status or confirmed:
        return status
    name = typed("Type the name of the recovered backup to replace the databases: ")
    if not name:
        raise OperationError(NOT_CONFIRMED)
    return _run(stack, *run, *_script("restore.sh", *choice, "--from", name, "--confirm", name))


def _script(name: str, *arguments: str) -> list[str]:
    return ["sh", f"{SCRIPTS_DIRECTORY}/{name}", *arguments]


def _run(stack: str, *command: str) -> int:
    settings, _ = read_configuration(stack)
    if not settings.backups.point_in_time.enabled:
        raise OperationError(
            f"Stack '{stack}' has no recovery to a point in time. Turn it on: "
            f"pulumi config set --path {NAMESPACE}:backups.pointInTime.enabled true\nThen update the stack."
        )
    return runtime_of(stack).run_in_container(stack, ARCHIVE, command, ["sh", SCHEDULER, "cancel"])

"""Delete a stack's data. No other operation does so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.offsite import OFFSITE_TASK
from components.stores.postgres.archive import ARCHIVE
from components.stores.postgres.backup import BACKUP_TASK
from operations import backups, offsite, stack
from operations.configuration import read_configuration
from operations.confirmation import NOT_CONFIRMED, require_typed_name, typed
from operations.destroy import require_destroyable
from operations.project import OperationError
from operations.runtimes import RetainedData, runtime_of

BACKUP_WORKLOADS = (BACKUP_TASK, ARCHIVE, OFFSITE_TASK)
"""Workloads whose data are backups."""


def wipe(name: str, *, take_last_backup: bool = True, delete_backups: bool = False) -> int:
    """Destroy the stack and delete its data, after the user has typed its name. The backups stay.

    On Docker, this deletes its volumes; on Kubernetes, its namespace in the configured cluster, with everything in it.
    If backups stay there, the namespace stays too, with their claims.

    Args:
        name: name of the stack.
        take_last_backup: whether to offer a last backup of a running stack; a failure of it stops the wipe.
        delete_backups: whether to delete the backups too. Then there is no last one.

    Raises:
        OperationError: the user didn't confirm, the stack is protected, something belongs to another stack or state,
            the state can't be read, the last backup failed, or the stack can't be destroyed; no data was deleted.
    """
    runtime = runtime_of(name)
    state = stack.recorded_state(name)
    require_destroyable(name, state)
    _require_unprotected(name, state)
    kept = [] if delete_backups else [one for one in runtime.retained_data(name) if one.workload in BACKUP_WORKLOADS]
    to_delete = runtime.deletion_plan(name, kept)
    print(f"This destroys stack '{name}' and permanently deletes its data, {runtime.location(name)}:")
    for line in to_delete or ["(no data)"]:
        print(f"  {line}")
    _print_kept(name, kept)
    is_last_backup = take_last_backup and not delete_backups and _wants_last_backup(name, state)
    require_typed_name(name)
    if is_last_backup and (code := backups.backup(name)):
        raise OperationError(
            f"The last backup has failed (exit code {code}). Nothing has been destroyed or deleted. Correct the cause "
            "and run this again, or delete the data without a last backup: --no-last-backup"
        )
    offsite.keep_password(name, state)
    if state and (code := stack.destroy(name)):
        raise OperationError(f"The stack could not be destroyed (exit code {code}); its data has not been changed.")
    runtime.delete_data(name, kept)
    print(f"Deleted: {', '.join(to_delete) or 'nothing'}")
    _print_kept(name, kept)
    return 0


def _require_unprotected(name: str, state: Mapping[str, Any]) -> None:
    """Refuse a stack with protected resources, and one without any whose next update would protect them."""
    recorded = state.get("resources") or []
    if any(one.get("protect") for one in recorded):
        raise OperationError(
            f"Stack '{name}' is protected. Nothing has been changed. If its data may be deleted, run first:\n"
            f"  pulumi state unprotect --all --stack {name}"
        )
    if not recorded and read_configuration(name)[0].protect:
        raise OperationError(
            f"Stack '{name}' is protected by its configuration, and its state records no resources: it was destroyed, "
            "or its state was lost. Nothing has been changed. If its data may be deleted, run first:\n"
            f"  pulumi config set pti-calendar:protect false --stack {name}"
        )


def _print_kept(name: str, kept: list[RetainedData]) -> None:
    if kept:
        print(f"The backups stay, with every tenant's rows: {', '.join(one.name for one in kept)}")
        print(f"  The next `make up STACK={name}` attaches them; docs/backups.md#restore describes the restore.")
        print(f"  To delete them too: python -m operations wipe --stack {name} --delete-backups")


def _wants_last_backup(name: str, state: Mapping[str, Any]) -> bool:
    """Ask for a last backup, if one can be taken."""
    if not read_configuration(name)[0].backups.enabled:
        print("This stack takes no backups (backups.enabled): no last one is taken.")
        return False
    if not state.get("resources"):
        print(f"The stack isn't up: no last backup is taken. For one, bring it up first: make up STACK={name}")
        return False
    answer = typed("Take a last backup first? [Y/n] ").lower()
    if answer not in ("", "y", "yes", "n", "no"):
        raise OperationError(NOT_CONFIRMED)
    return not answer.startswith("n")

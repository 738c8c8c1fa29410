"""Upgrade of PostgreSQL to another major version, step by step. Each step can be repeated.

The server's container does the work: `assets/postgres/upgrade.sh` describes it, docs/store-upgrades.md the whole.
"""

from __future__ import annotations

import sys
import time

from components.stores.postgres.server import ENDPOINT, SCRIPTS_DIRECTORY
from operations import backups
from operations import stack as pulumi_stack
from operations.configuration import read_configuration
from operations.confirmation import require_typed_name
from operations.doctor.finding import CommandFailed
from operations.project import OperationError
from operations.runtimes import runtime_of
from settings import Settings

WORKLOAD = ENDPOINT.workload
PAGE = "docs/store-upgrades.md"
POLL_S = 2.0
RESTART_TIMEOUT_S = 300.0
"""Seconds that the server's container may be unreachable while it restarts."""


def upgrade(stack: str, image: str, *, confirmed: bool) -> int:
    """Dump the data with the current server, set the image, and update the stack. Return the update's exit code.

    The server restores the dump before it serves. If the command is interrupted, run it again.

    Args:
        stack: its name.
        image: the new image.
        confirmed: whether to skip the typed confirmation.

    Raises:
        OperationError: the image isn't of a newer major version, the server refuses, or the dump failed. The server
            then serves again.
    """
    settings = _settings(stack)
    if settings.postgres.image == image and settings.postgres.previous_major is not None:
        return _update(stack, settings)
    current = settings.postgres.major
    changes = {"image": image, "previousMajor": current}
    if read_configuration(stack, {"postgres": {"image": image}})[0].postgres.major == current:
        raise OperationError(
            f"{image} has the same major version, so it opens the data itself: set postgres.image, then "
            f"make up STACK={stack} ({PAGE}#postgresql-another-minor-version)"
        )
    changed, _ = read_configuration(stack, {"postgres": changes})
    if changed.postgres.major < current:
        raise OperationError(f"{image} is older. The way back from an upgrade: {PAGE}#the-way-back")
    _begin(stack, settings, changed.postgres.major, confirmed=confirmed)
    _await_dump(stack)
    pulumi_stack.set_configuration(stack, {f"postgres.{key}": str(value) for key, value in changes.items()})
    print(f"· Pulumi.{stack}.yaml has the new image: postgres.image, postgres.previousMajor", flush=True)
    return _update(stack, changed)


def cancel(stack: str) -> int:
    """Let the server serve again after a dump. Nothing is lost."""
    _settings(stack)
    print(_script(stack, "cancel"), end="")
    return 0


def delete_old(stack: str, *, confirmed: bool) -> int:
    """Delete the data of other major versions, after a typed confirmation. There is no way back afterwards."""
    settings = _settings(stack)
    found = _script(stack, "old").split()
    if not found:
        print("There is no data of another major version.")
        return 0
    print(f"PostgreSQL {settings.postgres.major} serves. This deletes the data of PostgreSQL {', '.join(found)}.")
    if not confirmed:
        require_typed_name(stack)
    print(_script(stack, "delete-old"), end="")
    return 0


def _settings(stack: str) -> Settings:
    settings, _ = read_configuration(stack)
    if settings.postgres.mode != "single":
        raise OperationError(
            f"In the mode '{settings.postgres.mode}' the stack doesn't run the server: {PAGE}#postgresql-in-other-modes"
        )
    return settings


def _begin(stack: str, settings: Settings, major: int, *, confirmed: bool) -> None:
    """Request the dump, unless it is requested already."""
    state, *details = _script(stack, "status").split()
    if state in ("requested", "dumped"):
        if details[0].rstrip(":") != str(major):
            raise OperationError(f"An upgrade to PostgreSQL {details[0]} is in progress; --cancel ends it.")
        return
    current = settings.postgres.major
    print(
        f"PostgreSQL {current} stops serving now, until PostgreSQL {major} has restored its data: services return 503. "
        f"The data of PostgreSQL {current} stays.\nMeasured durations, and the way back: {PAGE}"
    )
    if not confirmed:
        require_typed_name(stack)
    if not settings.backups.enabled:
        print("· no backup is taken, because backups.enabled is off", flush=True)
    elif backups.backup(stack):
        raise OperationError("The backup failed; nothing has been changed.")
    _script(stack, "request", str(major))


def _await_dump(stack: str) -> None:
    shown, reached_at = "", time.monotonic()
    while True:
        try:
            found = _script(stack, "status").strip()
            reached_at = time.monotonic()
        except OperationError as error:
            if time.monotonic() - reached_at > RESTART_TIMEOUT_S:
                raise OperationError(f"{error}\nThe dump may continue. Run this again, or --cancel.") from None
            found = shown
        state = found.partition(" ")[0].rstrip(":")
        if found != shown:
            print(f"· {found}", flush=True)
            shown = found
        if state == "dumped":
            return
        if state in ("failed", "idle"):
            raise OperationError(f"The dump failed, and PostgreSQL serves again; nothing has been changed. {found}")
        time.sleep(POLL_S)


def _update(stack: str, settings: Settings) -> int:
    previous = settings.postgres.previous_major
    if code := pulumi_stack.up(stack):
        print(
            "The update failed. Repair the cause and run this again, or return to the unchanged data of PostgreSQL "
            f"{previous}: {PAGE}#the-way-back",
            file=sys.stderr,
        )
        return code
    print(
        f"PostgreSQL {settings.postgres.major} serves the data. The data of PostgreSQL {previous} stays on the volume "
        f"until: python -m operations upgrade postgres --delete-old --stack {stack}"
    )
    return 0


def _script(stack: str, *arguments: str) -> str:
    """Return the output of `upgrade.sh` in the server's container.

    Raises:
        OperationError: the server isn't running, or the script refuses.
    """
    runtime = runtime_of(stack)
    for one in runtime.instances(stack):
        if one.workload == WORKLOAD:
            try:
                return runtime.execute(stack, one, ("sh", f"{SCRIPTS_DIRECTORY}/upgrade.sh", *arguments))
            except CommandFailed as error:
                raise OperationError(f"PostgreSQL's container: {error}") from None
    raise OperationError(f"{WORKLOAD} isn't running: make status STACK={stack}")

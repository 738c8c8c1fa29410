"""Off-site copies of a stack's backups: copy now, list, bring one back, show the repository's password.

All but the last run the script in the stack's container of the task `offsite`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from components.offsite import OFFSITE_TASK, SCRIPT
from operations.configuration import read_configuration
from operations.project import ROOT, OperationError, environment
from operations.runtimes import runtime_of
from settings.base import NAMESPACE
from settings.offsite import OFFSITE_PASSWORD

ALLOW_FETCH_COMMAND = f"pulumi config set --path {NAMESPACE}:backups.offsite.allowFetch true"


def copy(stack: str) -> int:
    """Copy the backups now. Return the script's exit code."""
    _require_offsite(stack)
    return runtime_of(stack).run_task(stack, OFFSITE_TASK, None)


def list_copies(stack: str, *, as_json: bool) -> int:
    """Print the copies, the oldest first. Return the script's exit code."""
    return _run(stack, "list", *(["--json"] if as_json else []))


def fetch(stack: str, backup: str) -> int:
    """Put the copy of a backup among the backups, verified by its manifest. Return the script's exit code.

    Raises:
        OperationError: the task may not write to the volume of the backups.
    """
    settings, _ = read_configuration(stack)
    if settings.backups.offsite.enabled and not settings.backups.offsite.allow_fetch:
        raise OperationError(
            "The task 'offsite' may only read the backups. To bring a copy back, allow it to write, and update the "
            f"stack:\n  {ALLOW_FETCH_COMMAND}\n  make up STACK={stack}"
        )
    return _run(stack, "fetch", backup)


def show_password(stack: str) -> int:
    """Print the password of the repository on standard output, and nothing else there.

    Raises:
        OperationError: neither the configuration nor the state has one.
    """
    print(_password(stack))
    print("Keep it where neither this machine nor the stack's state is needed to read it.", file=sys.stderr)
    return 0


def keep_password(stack: str, state: Mapping[str, Any]) -> None:
    """Copy a generated password into the stack's configuration, before a destroy deletes it with the state. The next
    update would generate another one, which can't read the copies.

    Args:
        stack: its name.
        state: its recorded resources.

    Raises:
        OperationError: the password can't be read or stored.
    """
    key = f"{NAMESPACE}:{OFFSITE_PASSWORD.key}"
    if not any(str(one.get("urn")).endswith(f"::{OFFSITE_PASSWORD.key}") for one in state.get("resources") or []):
        return
    if _configured_password(stack) is not None:
        return
    done = _pulumi("config", "set", "--secret", key, "--stack", stack, value=_password(stack))
    if done.returncode:
        raise OperationError(f"The password of the off-site copies can't be kept:\n  {done.stderr.strip()}")
    print(f"The password of the off-site copies is kept in Pulumi.{stack}.yaml, encrypted: {key}")


def _configured_password(stack: str) -> str | None:
    found = _pulumi("config", "get", f"{NAMESPACE}:{OFFSITE_PASSWORD.key}", "--stack", stack)
    return None if found.returncode else found.stdout.rstrip("\n")


def _password(stack: str) -> str:
    configured = _configured_password(stack)
    if configured is not None:
        return configured
    exported = _pulumi("stack", "export", "--show-secrets", "--stack", stack)
    if exported.returncode:
        raise OperationError(f"The state of stack '{stack}' can't be read:\n  {exported.stderr.strip()}")
    for one in json.loads(exported.stdout)["deployment"].get("resources", []):
        if str(one["urn"]).endswith(f"::{OFFSITE_PASSWORD.key}") and (found := one.get("outputs", {}).get("result")):
            value = found.get("plaintext") if isinstance(found, dict) else None
            return str(json.loads(value)) if value is not None else str(found)
    raise OperationError(
        f"Stack '{stack}' has no password of a repository yet. Turn the copies on and bring the stack up, or set one: "
        f"pulumi config set --secret {NAMESPACE}:{OFFSITE_PASSWORD.key}"
    )


def _pulumi(*arguments: str, value: str = "") -> subprocess.CompletedProcess[str]:
    """Run Pulumi, with a value on standard input."""
    command = ["pulumi", *arguments, "--non-interactive"]
    return subprocess.run(
        command, cwd=ROOT, env=environment(), input=value, capture_output=True, text=True, check=False
    )


def _run(stack: str, *arguments: str) -> int:
    _require_offsite(stack)
    return runtime_of(stack).run_task(stack, OFFSITE_TASK, [*SCRIPT, *arguments])


def _require_offsite(stack: str) -> None:
    settings, _ = read_configuration(stack)
    if not settings.backups.offsite.enabled:
        raise OperationError(
            f"Stack '{stack}' has no off-site copies. Turn them on, then make up STACK={stack}:\n"
            f"  pulumi config set --path {NAMESPACE}:backups.offsite.enabled true\n"
            f"  pulumi config set --path {NAMESPACE}:backups.offsite.repository REPOSITORY"
        )

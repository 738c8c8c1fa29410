"""Run Pulumi on a stack: update, destroy, read outputs."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from contract import ContractError, StackOutputs
from operations.event_log import proposes_changes
from operations.locks import locks
from operations.project import PROJECT, ROOT, STATE, OperationError, environment
from operations.proxies import local_without_proxy
from operations.runtimes import runtime_of
from settings.base import NAMESPACE

NO_REFRESH_OPTION = "--refresh=false"
"""Trust the state instead of comparing it with what runs; overrides the default of Pulumi.yaml."""

STACK_TYPE = "pulumi:pulumi:Stack"
READY_TIMEOUT_S = 60.0
"""Seconds that `up` waits for workloads that the update didn't wait for, such as a restarting container."""

POLL_S = 1.0

MIN_FREE_STATE_BYTES = 64 * 2**20
"""Free bytes that the state's disk must have: each step writes a new copy before it deletes the old one."""


def up(stack: str) -> int:
    """Bring the stack up, created first if it is new. Return Pulumi's exit code.

    An existing stack is previewed first: if the preview fails, nothing is changed; if it finds no change, there is no
    update. Differences between the running workloads and the state are corrected.

    Raises:
        OperationError: the engine or the cluster doesn't respond, another update is running, the state's disk is full,
            the state can't be read, or a workload isn't ready although nothing is left to update.
    """
    code = _update(stack)
    if not code:
        _await_ready(stack)
    return code


def _update(stack: str) -> int:
    _refuse_concurrent_update(stack)
    _refuse_full_disk(stack)
    runtime = runtime_of(stack)
    if reason := runtime.unreachable_reason(stack):
        raise OperationError(f"{reason}\nNothing has been changed.")
    print(f"· stack '{stack}' {runtime.location(stack)}", flush=True)
    state = recorded_state(stack)
    _restore_encryption_salt(stack, state)
    _select_stack(stack)
    was_interrupted = _release_stale_lock(stack) or bool(_pending_operations(state))
    options: list[str] = []
    if recorded := [one for one in state.get("resources") or [] if one["type"] != STACK_TYPE]:
        runtime.repair_manual_changes(stack, recorded)
        options = [] if was_interrupted or runtime.may_have_drifted(stack, recorded) else [NO_REFRESH_OPTION]
        code, is_changing = _preview(stack, options)
        if code or not (is_changing or was_interrupted):
            return code
    code = _run_attached(["up", "--stack", stack, "--yes", "--skip-preview", "--suppress-outputs", *options])
    if was_interrupted and not code:
        _clear_pending_creations(stack)
    return code


def _pending_operations(state: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the operations whose outcome Pulumi doesn't know, because an update was killed or interrupted twice."""
    return state.get("pending_operations") or []


def _clear_pending_creations(stack: str) -> None:
    """Remove the pending creations of interrupted updates, which Pulumi keeps until a refresh clears them.

    The update has settled them: it adopted what they created, or created it again. A creation that is no longer part of
    the program stays pending, because its object may still exist.
    """
    state = recorded_state(stack)
    recorded = {one["urn"] for one in state.get("resources") or []}
    pending = sorted({one["resource"]["urn"] for one in _pending_operations(state)})
    if unknown := [urn for urn in pending if urn not in recorded]:
        names = "\n".join(f"  {urn}" for urn in unknown)
        print(
            f"· the creation of these resources was interrupted, and the program no longer has them:\n{names}\n"
            "  remove what exists of them, then run: pulumi refresh --clear-pending-creates --yes --non-interactive "
            f"--stack {stack}",
            flush=True,
        )
    elif pending:
        command = ["refresh", "--clear-pending-creates", "--skip-preview", "--yes", "--stack", stack]
        if (done := _run_captured(command)).returncode:
            raise OperationError(
                f"Stack '{stack}' is up, but its pending creations can't be cleared:\n  {done.stderr.strip()[-2000:]}\n"
                f"Run this again, or: pulumi {' '.join(command)}"
            )


def destroy(stack: str) -> int:
    """Destroy the stack without checks or confirmation; volumes stay. Return Pulumi's exit code."""
    return _run_attached(["destroy", "--stack", stack, "--yes", "--skip-preview", "--suppress-outputs"])


def recorded_state(stack: str, *, show_secrets: bool = False) -> dict[str, Any]:
    """Return the recorded resources, with encrypted secrets; empty if the stack doesn't exist.

    Args:
        stack: its name.
        show_secrets: whether to decrypt the secrets.

    Raises:
        OperationError: the state can't be read.
    """
    done = _run_captured(["stack", "export", "--stack", stack, *(["--show-secrets"] if show_secrets else [])])
    if "no stack named" in done.stderr:
        return {}
    if done.returncode:
        raise OperationError(_unreadable_state_message(stack, done.stderr))
    deployment: dict[str, Any] = json.loads(done.stdout).get("deployment") or {}
    return deployment


def outputs(stack: str) -> StackOutputs[str]:
    """Return the stack outputs with their secret values.

    Raises:
        OperationError: the stack doesn't exist or isn't up, or its outputs have another contract version.
    """
    done = _run_captured(["stack", "output", "--json", "--show-secrets", "--stack", stack])
    if done.returncode:
        raise OperationError(f"The outputs of stack '{stack}' can't be read:\n  {done.stderr.strip()}")
    values = json.loads(done.stdout)
    if not values:
        raise OperationError(f"Stack '{stack}' is not up. Bring it up first: make up STACK={stack}")
    try:
        return StackOutputs.parse(values)
    except ContractError as error:
        raise OperationError(str(error)) from None


def set_configuration(stack: str, values: Mapping[str, str]) -> None:
    """Write keys into the stack's configuration file.

    Raises:
        OperationError: Pulumi fails.
    """
    pairs = [word for key, value in values.items() for word in ("--plaintext", f"{NAMESPACE}:{key}={value}")]
    done = _run_captured(["config", "set-all", "--path", *pairs, "--stack", stack])
    if done.returncode:
        raise OperationError(f"Pulumi.{stack}.yaml can't be changed:\n  {done.stderr.strip()}")


def _await_ready(stack: str) -> None:
    """Wait until every workload is ready: Pulumi only waits for those that it changes."""
    runtime = runtime_of(stack)
    deadline = time.monotonic() + READY_TIMEOUT_S
    is_shown = False
    while found := runtime.unready_workloads(stack):
        lines = "\n".join(f"  {one}" for one in found)
        if time.monotonic() > deadline:
            raise OperationError(
                f"Nothing is left to update, but the stack isn't ready:\n{lines}\n"
                f"Find the cause: make logs STACK={stack} SERVICE=<name>; docs/runbook.md#the-stack-isnt-ready"
            )
        if not is_shown:
            print(f"· waiting at most {READY_TIMEOUT_S:.0f} s for:\n{lines}", flush=True)
            is_shown = True
        time.sleep(POLL_S)


def _select_stack(stack: str) -> None:
    done = _run_captured(["stack", "select", "--create", stack])
    if "incorrect passphrase" in done.stderr:
        raise OperationError(
            f"The line 'encryptionsalt' in Pulumi.{stack}.yaml belongs to another passphrase. If you have that one, "
            "set PULUMI_CONFIG_PASSPHRASE_FILE to its file. Otherwise remove the line and the secrets that were set "
            "with it; Pulumi then writes a new line."
        )
    if "passphrase must be set" in done.stderr:
        raise OperationError(
            "Your state backend (PULUMI_BACKEND_URL or 'pulumi login') has no passphrase for the stack's secrets. Set "
            "PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE, always to the same one, and run this again."
        )
    if done.returncode:
        raise OperationError(_unreadable_state_message(stack, done.stderr))


def _unreadable_state_message(stack: str, error: str) -> str:
    """Return the message for a state that Pulumi can't read."""
    message = f"The state of stack '{stack}' can't be read:\n  {error.strip()}"
    file = STATE / ".pulumi" / "stacks" / PROJECT / f"{stack}.json"
    backup = file.with_name(f"{file.name}.bak")
    if not file.exists() or _is_json(file):
        return message
    if _is_json(backup):
        return (
            f"{message}\nIts file is damaged, for example by a crash of the machine. Pulumi keeps the previous "
            f"version; restore it, then run this again:\n  cp {backup} {file}"
        )
    return (
        f"{message}\nIts file and the previous version are damaged, for example by a full disk. Restore your own "
        "backup. Without one, move the file away and run this again (docs/runbook.md#the-state-is-lost):\n"
        f"  mv {file} {file}.damaged"
    )


def _refuse_full_disk(stack: str) -> None:
    """Refuse an update if the state might not fit on the disk: Pulumi would leave a truncated file and backup."""
    free = shutil.disk_usage(STATE).free if STATE.exists() else MIN_FREE_STATE_BYTES
    if free < MIN_FREE_STATE_BYTES:
        raise OperationError(
            f"The disk of {STATE} has {free // 2**20} MiB free, but {MIN_FREE_STATE_BYTES // 2**20} MiB are required: "
            f"a full disk would damage the state of stack '{stack}'. Free space, then run this again. "
            "Nothing has been changed."
        )


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return True


def _refuse_concurrent_update(stack: str) -> None:
    """Refuse a second update and name the running one: Pulumi would suggest to remove its lock."""
    for lock in locks(stack):
        if lock.is_held():
            raise OperationError(
                f"Another update of stack '{stack}' is running (process {lock.pid}). Wait until it ends, then run this "
                "again. Nothing has been changed."
            )


def _release_stale_lock(stack: str) -> bool:
    """Remove the lock of an update that was killed on this machine. Return whether there was one.

    Otherwise Pulumi would refuse every update until `pulumi cancel`. A lock is removed only if the process that its
    file names has ended. Locks of other users or machines stay.
    """
    found = locks(stack)
    if not found or not all(lock.is_stale() for lock in found):
        return False
    print("· removing the lock of a killed update", flush=True)
    _run_captured(["cancel", "--yes", "--stack", stack])
    return True


def _restore_encryption_salt(stack: str, state: Mapping[str, Any]) -> None:
    """Restore a lost 'encryptionsalt' line, which the configuration's secrets were encrypted with.

    Otherwise Pulumi would create another one and couldn't decrypt the secrets: "cipher: message authentication failed".
    """
    file = ROOT / f"Pulumi.{stack}.yaml"
    salt = ((state.get("secrets_providers") or {}).get("state") or {}).get("salt")
    if not salt or "encryptionsalt" in (yaml.safe_load(file.read_text()) or {}):
        return
    print(f"· restoring the line 'encryptionsalt' of Pulumi.{stack}.yaml from the state", flush=True)
    text = file.read_text()
    file.write_text(f"{text}{'' if text.endswith(chr(10)) else chr(10)}encryptionsalt: {salt}\n")


def _preview(stack: str, options: Sequence[str]) -> tuple[int, bool]:
    """Show what an update would do. Return Pulumi's exit code, and whether the update has anything to do."""
    with tempfile.TemporaryDirectory(prefix="pti-calendar-preview-") as folder:
        log = Path(folder) / "events"
        command = ["preview", "--stack", stack, "--suppress-outputs", "--event-log", str(log), *options]
        # The option --event-log requires this variable.
        code = _run_attached(command, {"PULUMI_DEBUG_COMMANDS": "true"})
        if code:
            print("· nothing has been changed", flush=True)
            return code, False
        if is_changing := proposes_changes(log):
            return code, is_changing
    print("· no changes", flush=True)
    return code, False


def _run_captured(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = ["pulumi", *arguments, "--non-interactive"]
    try:
        return subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=ROOT)
    except FileNotFoundError:
        raise OperationError("The 'pulumi' command is missing; 'make setup' installs it.") from None


def _run_attached(arguments: list[str], extra_environment: Mapping[str, str] | None = None) -> int:
    """Run Pulumi on the user's terminal. Pulumi handles an interrupt itself and ends the update cleanly."""
    inherited = environment()
    own = inherited | local_without_proxy(inherited) | {**(extra_environment or {})}
    process = subprocess.Popen(["pulumi", *arguments], env=own, cwd=ROOT)
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, previous)

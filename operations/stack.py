"""The Pulumi stack from the outside: bringing it up, and reading its outputs."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path

from contract import ContractError, StackOutputs
from operations.project import PROJECT, ROOT, STATE, OperationError, environment


def up(stack: str) -> int:
    """Brings the stack up, created first if it is new; gives Pulumi's exit code."""
    _select(stack)
    was_killed = _release_dead_lock(stack)
    code = _attached(["up", "--stack", stack, "--yes", "--skip-preview", "--suppress-outputs"])
    if was_killed and not code:
        # The killed update's creations have been found or made anew; Pulumi would warn of them for ever.
        _captured(["refresh", "--clear-pending-creates", "--skip-preview", "--yes", "--stack", stack])
    return code


def destroy(stack: str) -> int:
    """Takes the stack down; volumes stay. Gives Pulumi's exit code."""
    return _attached(["destroy", "--stack", stack, "--yes", "--skip-preview", "--suppress-outputs"])


def exists(stack: str) -> bool:
    """Whether the state knows the stack."""
    return _captured(["stack", "select", stack]).returncode == 0


def outputs(stack: str) -> StackOutputs[str]:
    """The stack's outputs with their secret values.

    Raises:
        OperationError: there is no such stack, it is not up, or it keeps another contract.
    """
    done = _captured(["stack", "output", "--json", "--show-secrets", "--stack", stack])
    if done.returncode:
        raise OperationError(f"The outputs of stack '{stack}' can't be read:\n  {done.stderr.strip()}")
    values = json.loads(done.stdout)
    if not values:
        raise OperationError(f"Stack '{stack}' is not up. Bring it up first: make up STACK={stack}")
    try:
        return StackOutputs.parse(values)
    except ContractError as error:
        raise OperationError(str(error)) from None


def _select(stack: str) -> None:
    done = _captured(["stack", "select", "--create", stack])
    if "incorrect passphrase" in done.stderr:
        raise OperationError(
            f"The line 'encryptionsalt' in Pulumi.{stack}.yaml was made with another passphrase than yours. If you "
            "have the other one, name its file in PULUMI_CONFIG_PASSPHRASE_FILE; else remove the line (and the "
            "secrets set with it), and Pulumi writes a new one."
        )
    if done.returncode:
        raise OperationError(f"Stack '{stack}' can't be selected:\n  {done.stderr.strip()}")


def _release_dead_lock(stack: str) -> bool:
    """Lifts the lock of an update that was killed hard on this machine, and says whether there was one.

    Pulumi would refuse every further update until `pulumi cancel`. A lock is lifted only when the process that its
    file names is gone; somebody else's, or one of another machine, stays.
    """
    locks = sorted((STATE / ".pulumi" / "locks").glob(f"**/{PROJECT}/{stack}/*.json"))
    if not locks or not all(_is_dead(lock) for lock in locks):
        return False
    print("· lifting the lock of an update that was killed", flush=True)
    _captured(["cancel", "--yes", "--stack", stack])
    return True


def _is_dead(lock: Path) -> bool:
    """Whether the update that holds a lock has ended; False where that can't be known."""
    try:
        holder = json.loads(lock.read_text())
        if holder["hostname"] != socket.gethostname():
            return False
        asked = ["ps", "-o", "stat=,comm=", "-p", str(int(holder["pid"]))]
        told = subprocess.run(asked, capture_output=True, text=True).stdout.split()
    except (OSError, ValueError, KeyError):
        return False
    # Gone; dead and not yet collected by its parent; or another program under a number used again.
    return not told or told[0].startswith("Z") or "pulumi" not in told[-1]


def _captured(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = ["pulumi", *arguments, "--non-interactive"]
    try:
        return subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=ROOT)
    except FileNotFoundError:
        raise OperationError("The 'pulumi' command is missing; 'make setup' installs it.") from None


def _attached(arguments: list[str]) -> int:
    """Runs Pulumi on the person's terminal. An interrupt is Pulumi's to handle: it ends the update in good order."""
    process = subprocess.Popen(["pulumi", *arguments], env=environment(), cwd=ROOT)
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, previous)

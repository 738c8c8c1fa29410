"""Audit the isolation of tenants, export a tenant's rows or erase them, in the stack's task `tenants`; restore them
from a backup, in the task `backup`."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from components.stores.postgres.tenants import SCRIPT, TENANTS_TASK
from operations import backups
from operations.configuration import read_configuration
from operations.confirmation import NOT_CONFIRMED, typed
from operations.project import ROOT, OperationError, environment
from operations.runtimes import runtime_of
from settings.base import NAMESPACE

EXPORT = 'sh /assets/tenants.sh export "$1" - | gzip | base64'
"""Compressed, because the output of a task in a cluster is a pod's log, which the kubelet rotates at 10 MiB; encoded,
because a log is text."""

ENCODED_PATTERN = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\n")
HEADER_PATTERN = re.compile(rb"==> ([a-z0-9_]+/[A-Za-z0-9_.-]+\.jsonl|manifest\.json) <==\n")
MANIFEST = "manifest.json"
RESTORE_SCRIPT = "restore_tenant.sh"


def audit(stack: str, *, as_json: bool) -> int:
    """Print the findings of the audit. Return 1 if there are any."""
    return _run(stack, "audit", *(["--json"] if as_json else []))


def erase(stack: str, tenant: str) -> int:
    """Delete a tenant's rows in every database, after a typed confirmation. Return the script's exit code."""
    if code := _run(stack, "erase", tenant):
        return code
    if typed(f"Type the tenant to erase it from stack '{stack}' ({tenant}): ") != tenant:
        raise OperationError(NOT_CONFIRMED)
    return _run(stack, "erase", tenant, "--confirm", tenant)


def restore(stack: str, tenant: str, backup: str, database: str | None) -> int:
    """Replace a tenant's rows by those of a backup, after a typed confirmation. Return the script's exit code.

    Args:
        stack: its name.
        tenant: the tenant.
        backup: the backup's name.
        database: the database; None: all of the backup.
    """
    chosen = [tenant, "--from", backup, *(["--database", database] if database else [])]
    if code := backups.run_script(stack, RESTORE_SCRIPT, *chosen):
        return code
    if typed(f"Type the tenant to replace its rows in stack '{stack}' ({tenant}): ") != tenant:
        backups.run_script(stack, RESTORE_SCRIPT, *chosen, "--discard")
        raise OperationError(NOT_CONFIRMED)
    return backups.run_script(stack, RESTORE_SCRIPT, *chosen, "--confirm", tenant)


def export(stack: str, tenant: str, directory: Path) -> int:
    """Write a tenant's rows into an empty directory of this machine. Return the exit code.

    Raises:
        OperationError: the directory isn't empty, or what arrived isn't complete.
    """
    _require_task(stack)
    if directory.exists() and any(directory.iterdir()):
        raise OperationError(f"The directory {directory} isn't empty.")
    command = [sys.executable, "-m", "operations", "run", "--stack", stack, TENANTS_TASK, "--"]
    command += ["sh", "-c", EXPORT, "sh", tenant]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE) as running:
        receive(decoded(running.stdout or ()), directory)
    if running.returncode:
        print(f"The export has failed; {directory} isn't complete.", file=sys.stderr)
        return running.returncode
    rows = verify(directory)
    print(
        f"{rows} rows of tenant {tenant} are in {directory}; {MANIFEST} lists the files, and what they don't contain."
    )
    return 0


def decoded(output: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of an encoded export. Print every other line of the output, such as an error message.

    Raises:
        OperationError: the output is damaged.
    """
    decompressor, rest = zlib.decompressobj(wbits=31), b""
    for line in output:
        if not ENCODED_PATTERN.fullmatch(line):
            print(line.decode(errors="replace"), end="", file=sys.stderr)
            continue
        try:
            *lines, rest = (rest + decompressor.decompress(base64.b64decode(line))).split(b"\n")
        except zlib.error as error:
            raise OperationError(f"The export is damaged: {error}. Run it again.") from None
        yield from (one + b"\n" for one in lines)


def receive(stream: Iterable[bytes], directory: Path) -> None:
    """Write the files in the stream of `tenants.sh export TENANT -` into a directory."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as open_file:
        write: Callable[[bytes], object] | None = None
        for line in stream:
            if header := HEADER_PATTERN.fullmatch(line):
                open_file.close()
                path = directory / header[1].decode()
                path.parent.mkdir(mode=0o700, exist_ok=True)
                write = open_file.enter_context(path.open("wb")).write
            elif write:
                write(line)


def verify(directory: Path) -> int:
    """Compare the files with the manifest. Return the number of rows.

    Raises:
        OperationError: one is missing, incomplete or damaged.
    """
    try:
        manifest: dict[str, Any] = json.loads((directory / MANIFEST).read_text())
    except (OSError, ValueError):
        raise OperationError(f"The export is incomplete: {directory / MANIFEST} is missing or damaged.") from None
    for entry in manifest["files"]:
        path = directory / entry["file"]
        content = path.read_bytes() if path.exists() else b""
        digest = hashlib.sha256(content).hexdigest()
        if (content.count(b"\n"), digest) != (entry["rows"], entry["sha256"]):
            raise OperationError(f"The export is incomplete: {path} doesn't match {MANIFEST}.")
    return sum(entry["rows"] for entry in manifest["files"])


def _run(stack: str, *arguments: str) -> int:
    _require_task(stack)
    return runtime_of(stack).run_task(stack, TENANTS_TASK, [*SCRIPT, *arguments])


def _require_task(stack: str) -> None:
    settings, _ = read_configuration(stack)
    if not settings.tenants.enabled:
        raise OperationError(
            f"Stack '{stack}' has no task for the tenants' rows. Turn it on, and bring the stack up:\n"
            f"  pulumi config set --path {NAMESPACE}:tenants.enabled true"
        )

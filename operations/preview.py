"""`make preview`: everything that a new stack would create, without access to its secrets or cluster.

Pulumi previews with a temporary state and a copy of the stack's configuration, in which placeholders replace the
secrets and the cluster's address.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from capabilities import BACKENDS
from operations.configuration import read_configuration
from operations.project import PASSPHRASE_VARIABLES, ROOT, OperationError, environment
from operations.proxies import local_without_proxy
from settings import NAMESPACE
from settings.credentials import supplied_credentials

PLACEHOLDER = "placeholder-of-the-preview"


def preview(stack: str) -> int:
    """Show the preview on the terminal. Return Pulumi's exit code. It changes neither the stack nor its state.

    Raises:
        OperationError: the stack doesn't exist, its configuration has a mistake, or Pulumi is missing.
    """
    settings, supplied = read_configuration(stack)
    keys = {credential.key for credential in supplied_credentials(settings)} | supplied
    with tempfile.TemporaryDirectory(prefix="pti-calendar-preview-") as created:
        folder = Path(created)
        configuration = _prepare(folder, stack)
        _run_pulumi(folder, ["stack", "init", stack, "--no-select"])
        if keys:
            _run_pulumi(folder, ["config", "set-all", "--stack", stack, *_placeholders(keys)])
        print(f"· what a new stack '{stack}' would create, with placeholders for its secrets", flush=True)
        if replaced := ", ".join(BACKENDS[settings.backend.kind].preview_values):
            print(
                f"· the cluster is not contacted; Pulumi's warning about a missing {replaced} is expected", flush=True
            )
        command = ["pulumi", "preview", "--stack", stack, "--config-file", str(configuration)]
        try:
            return subprocess.run(command, env=temporary_environment(folder), cwd=ROOT).returncode
        except KeyboardInterrupt:
            return 130


def without_secrets_and_addresses(document: dict[str, Any]) -> dict[str, Any]:
    """Return a stack's file without encrypted values and without the address of a cluster."""
    config = {key: value for key, value in document.get("config", {}).items() if not _is_encrypted(value)}
    for row in BACKENDS.values():
        section = f"{NAMESPACE}:{row.section}"
        if isinstance(config.get(section), dict):
            config[section] = config[section] | row.preview_values
    return {"config": config}


def temporary_environment(folder: Path) -> dict[str, str]:
    """Return the environment in which Pulumi uses only that folder's state, with the machine's plugins."""
    inherited = {name: value for name, value in environment().items() if name not in PASSPHRASE_VARIABLES}
    passphrase = folder / "passphrase"
    return (
        inherited
        | local_without_proxy(inherited)
        | {
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
    )


def _prepare(folder: Path, stack: str) -> Path:
    """Write the folder's contents. Return the configuration file."""
    (folder / "state").mkdir()
    descriptor = os.open(folder / "passphrase", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))
    shutil.copy(ROOT / "Pulumi.yaml", folder)
    name = f"Pulumi.{stack}.yaml"
    document = yaml.safe_load((ROOT / name).read_text()) or {}
    (folder / name).write_text(yaml.safe_dump(without_secrets_and_addresses(document)))
    return folder / name


def _is_encrypted(value: Any) -> bool:
    return isinstance(value, dict) and "secure" in value


def _placeholders(keys: Iterable[str]) -> list[str]:
    return [f"--secret={NAMESPACE}:{key}={PLACEHOLDER}" for key in sorted(keys)]


def _run_pulumi(folder: Path, arguments: list[str]) -> None:
    command = ["pulumi", *arguments, "--non-interactive"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=temporary_environment(folder), cwd=folder)
    except FileNotFoundError:
        raise OperationError("The 'pulumi' command is missing; 'make setup' installs it.") from None
    if done.returncode:
        raise OperationError(f"The preview can't be prepared ('pulumi {arguments[0]}'):\n  {done.stderr.strip()}")

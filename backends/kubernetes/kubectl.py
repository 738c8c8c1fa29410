"""kubectl, for queries that the provider doesn't offer. An update needs it to wait for rollouts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from settings.backend import KubernetesSettings

REQUEST_TIMEOUT_S = 10

NOT_INSTALLED = (
    "The 'kubectl' command is missing. Install the cluster's minor version, or an adjacent one: "
    "https://kubernetes.io/docs/tasks/tools/"
)


class KubectlError(Exception):
    """kubectl is missing, fails or takes too long. The message is kubectl's own."""


def available() -> bool:
    """Return whether kubectl is installed."""
    return shutil.which("kubectl") is not None


def read_or_empty(settings: KubernetesSettings, *arguments: str) -> str:
    """Return kubectl's output of both streams; empty if it is missing or takes too long.

    If a command in a pod fails, its output is returned, too.
    """
    try:
        done = _run(settings, *arguments)
    except KubectlError:
        return ""
    return done.stdout + done.stderr


def read(settings: KubernetesSettings, *arguments: str) -> str:
    """Return kubectl's output.

    Raises:
        KubectlError: it is missing, fails, or takes too long.
    """
    done = _run(settings, *arguments)
    if done.returncode:
        raise KubectlError(done.stderr.strip() or f"'kubectl {arguments[0]}' failed")
    return done.stdout


def _run(settings: KubernetesSettings, *arguments: str) -> subprocess.CompletedProcess[str]:
    where = ["--kubeconfig", str(Path(settings.kubeconfig or "").expanduser()), "--context", settings.context or ""]
    limited = ["--namespace", settings.namespace, f"--request-timeout={REQUEST_TIMEOUT_S}s", *arguments]
    try:
        return subprocess.run(  # noqa: S603 - a fixed command, no shell
            ["kubectl", *where, *limited],  # noqa: S607 - the user's own kubectl command
            capture_output=True,
            text=True,
            timeout=2 * REQUEST_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise KubectlError(NOT_INSTALLED) from None
    except (OSError, subprocess.SubprocessError) as error:
        raise KubectlError(str(error)) from error

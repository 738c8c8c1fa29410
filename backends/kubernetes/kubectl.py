"""kubectl, for the questions that the provider doesn't ask. It may be missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from settings.backend import Kubernetes

ANSWER_WITHIN_S = 10


class KubectlError(Exception):
    """kubectl is missing, was refused or took too long; the message is its own."""


def available() -> bool:
    """Whether this machine has it."""
    return shutil.which("kubectl") is not None


def answer(settings: Kubernetes, *arguments: str) -> str:
    """What kubectl prints, on both streams; empty where it is missing, is refused, or takes too long.

    A command that it runs in a pod may fail: what that printed is given all the same.
    """
    try:
        done = _run(settings, arguments, stderr=subprocess.STDOUT)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def read(settings: Kubernetes, *arguments: str) -> str:
    """What kubectl prints on standard output.

    Raises:
        KubectlError: on any failure.
    """
    try:
        done = _run(settings, arguments, stderr=subprocess.PIPE)
    except (OSError, subprocess.SubprocessError) as error:
        raise KubectlError(str(error)) from None
    if done.returncode:
        raise KubectlError(done.stderr.strip())
    return done.stdout


def _run(settings: Kubernetes, arguments: Sequence[str], *, stderr: int) -> subprocess.CompletedProcess[str]:
    where = ["--kubeconfig", str(Path(settings.kubeconfig or "").expanduser()), "--context", settings.context or ""]
    limited = ["--namespace", settings.namespace, f"--request-timeout={ANSWER_WITHIN_S}s", *arguments]
    return subprocess.run(  # noqa: S603 - a fixed command, no shell
        ["kubectl", *where, *limited],  # noqa: S607 - the person's own kubectl command
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=2 * ANSWER_WITHIN_S,
        check=False,
    )

"""kubectl, for the questions that the provider doesn't ask. It may be missing: nothing depends on its answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

from settings.backend import Kubernetes

ANSWER_WITHIN_S = 10


def answer(settings: Kubernetes, *arguments: str) -> str:
    """What kubectl prints, on both streams; empty where it is missing, is refused, or takes too long.

    A command that it runs in a pod may fail: what that printed is given all the same.
    """
    where = ["--kubeconfig", str(Path(settings.kubeconfig or "").expanduser()), "--context", settings.context or ""]
    limited = ["--namespace", settings.namespace, f"--request-timeout={ANSWER_WITHIN_S}s", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, no shell
            ["kubectl", *where, *limited],  # noqa: S607 - the person's own kubectl command
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2 * ANSWER_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout

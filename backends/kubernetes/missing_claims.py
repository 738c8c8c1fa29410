"""Claims that are missing, found by kubectl: in the cluster, their place is taken by what the StatefulSet made."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pulumi

from backends.kubernetes import labels
from backends.kubernetes.claims import MISSING, missing_claim
from settings.backend import Kubernetes

ANSWER_WITHIN_S = 10


def named_in(listed: str) -> list[str]:
    """The missing ones among claims, as kubectl lists them in JSON."""
    found: list[dict[str, Any]] = json.loads(listed)["items"]
    return [str(one["metadata"]["name"]) for one in found if one["spec"].get("storageClassName") == MISSING]


class Explanation:
    """Adds the missing claims to the error of a StatefulSet that doesn't become ready. Without kubectl: nothing."""

    def __init__(self, settings: Kubernetes) -> None:
        self._settings = settings
        self.hook = pulumi.ErrorHook("kubernetes-explain-missing-claims", self._explain)

    async def _explain(self, hook: pulumi.ErrorHookArgs) -> bool:
        for name in await asyncio.to_thread(self._missing, hook.name):
            pulumi.log.error(missing_claim(name))
        return False

    def _missing(self, workload: str) -> list[str]:
        cluster = self._settings
        where = ["--kubeconfig", str(Path(cluster.kubeconfig or "").expanduser()), "--context", cluster.context or ""]
        asked = ["get", "persistentvolumeclaims", "--selector", f"{labels.NAME}={workload}", "--output", "json"]
        limited = ["--namespace", cluster.namespace, f"--request-timeout={ANSWER_WITHIN_S}s", *asked]
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command, no shell
                ["kubectl", *where, *limited],  # noqa: S607 - the person's own kubectl command
                capture_output=True,
                text=True,
                timeout=2 * ANSWER_WITHIN_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return []
        return named_in(done.stdout)

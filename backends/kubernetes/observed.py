"""What the cluster reports about all rollouts that an update waits for, asked once for all of them."""

from __future__ import annotations

import asyncio
import json
from time import monotonic

from backends.kubernetes import kubectl
from backends.kubernetes.labels import PART_OF, PLATFORM
from backends.kubernetes.problems import Object
from backends.threads import Threads
from settings.backend import Kubernetes

KINDS = "deployments,replicasets,statefulsets,jobs,pods,persistentvolumeclaims"
POLL_S = 2.0
"""Seconds between two questions at the least."""

SHARE = 4
"""How much longer than the last answer took the next question waits, at the least: many pods, or a slow cluster."""


class Observed:
    """The platform's controllers, pods and claims."""

    def __init__(self, settings: Kubernetes, threads: Threads) -> None:
        self._settings = settings
        self._threads = threads
        self._lock = asyncio.Lock()
        self._objects: list[Object] = []
        self._asked_at = float("-inf")
        self._took_s = 0.0

    async def objects(self, since: float) -> list[Object]:
        """Return the objects as they were after `since` (of `monotonic`).

        Raises:
            kubectl.KubectlError: the cluster refuses, or doesn't answer.
        """
        async with self._lock:
            if self._asked_at < since or monotonic() - self._asked_at >= max(POLL_S, SHARE * self._took_s):
                asked_at = monotonic()
                asked = ("get", KINDS, "--selector", f"{PART_OF}={PLATFORM}", "--output", "json")
                self._objects = json.loads(await self._threads.run(kubectl.read, self._settings, *asked))["items"]
                self._asked_at, self._took_s = asked_at, monotonic() - asked_at
            return self._objects

    async def warnings(self, *fields: str) -> list[Object]:
        """Return the events of type Warning that match field selectors; none if the cluster doesn't answer."""
        selected = ",".join(("type=Warning", *fields))
        asked = ("get", "events", "--field-selector", selected, "--output", "json")
        try:
            found: list[Object] = json.loads(await self._threads.run(kubectl.read, self._settings, *asked))["items"]
        except kubectl.KubectlError:
            return []
        return sorted(found, key=_last_seen)


def _last_seen(event: Object) -> str:
    """Return when an event was last seen, in a form that sorts by time."""
    series = event.get("series") or {}
    found = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return str(found or event["metadata"].get("creationTimestamp", ""))

"""What the cluster reports about all rollouts that an update waits for, asked once for all of them."""

from __future__ import annotations

import json

from backends.kubernetes import kubectl
from backends.kubernetes.labels import PART_OF, PLATFORM
from backends.kubernetes.problems import Object
from backends.shared_answer import SharedAnswer
from backends.threads import Threads
from settings.backend import Kubernetes

KINDS = "deployments,replicasets,statefulsets,jobs,pods,persistentvolumeclaims"
POLL_S = 2.0
"""Seconds between two questions at the least."""


class Observed:
    """The platform's controllers, pods and claims."""

    def __init__(self, settings: Kubernetes, threads: Threads) -> None:
        self._settings = settings
        self._threads = threads
        self._objects = SharedAnswer(self._listed, poll_s=POLL_S)

    async def objects(self, since: float) -> list[Object]:
        """Return the objects as they were after `since` (of `monotonic`).

        Raises:
            kubectl.KubectlError: the cluster refuses, or doesn't answer.
        """
        return await self._objects.after(since)

    async def warnings(self, *fields: str) -> list[Object]:
        """Return the events of type Warning that match field selectors; none if the cluster doesn't answer."""
        selected = ",".join(("type=Warning", *fields))
        asked = ("get", "events", "--field-selector", selected, "--output", "json")
        try:
            found: list[Object] = json.loads(await self._threads.run(kubectl.read, self._settings, *asked))["items"]
        except kubectl.KubectlError:
            return []
        return sorted(found, key=_last_seen)

    async def _listed(self) -> list[Object]:
        asked = ("get", KINDS, "--selector", f"{PART_OF}={PLATFORM}", "--output", "json")
        found: list[Object] = json.loads(await self._threads.run(kubectl.read, self._settings, *asked))["items"]
        return found


def _last_seen(event: Object) -> str:
    """Return when an event was last seen, in a form that sorts by time."""
    series = event.get("series") or {}
    found = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return str(found or event["metadata"].get("creationTimestamp", ""))

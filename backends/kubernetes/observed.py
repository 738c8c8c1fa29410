"""State of all rollouts that an update waits for, from one shared query of the cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping

from backends.kubernetes import kubectl, postgres_cluster
from backends.kubernetes.labels import PART_OF_LABEL, PLATFORM
from backends.kubernetes.problems import Object
from backends.shared_query import SharedQuery
from backends.threads import Threads
from settings.backend import KubernetesSettings

PLATFORM_SELECTOR = f"{PART_OF_LABEL}={PLATFORM}"
"""Selector of the program's objects and their pods."""

SELECTORS: Mapping[str, str] = {
    "deployments,replicasets,statefulsets,jobs,pods,persistentvolumeclaims": PLATFORM_SELECTOR
}
"""Maps kinds to their selectors."""

OPERATOR_SELECTORS: Mapping[str, Mapping[str, str]] = {
    postgres_cluster.KIND: {
        postgres_cluster.RESOURCE: PLATFORM_SELECTOR,
        # An operator's pods only have the operator's labels.
        "jobs,pods,persistentvolumeclaims": postgres_cluster.CLUSTER_LABEL,
    }
}
"""Additional kinds to query for a kind that an operator manages. A cluster without the operator doesn't have them."""

POLL_S = 2.0
"""Minimum number of seconds between two queries."""


class ObservedObjects:
    """The platform's controllers, pods and claims."""

    def __init__(self, settings: KubernetesSettings, threads: Threads) -> None:
        self._settings = settings
        self._threads = threads
        self._selectors = dict(SELECTORS)
        self._objects = SharedQuery(self._list_all, poll_s=POLL_S)

    def include(self, kind: str) -> None:
        """Also query the objects that belong to a controller of this kind."""
        self._selectors |= OPERATOR_SELECTORS.get(kind, {})

    async def objects(self, since: float) -> list[Object]:
        """Return the objects as they were after `since` (of `monotonic`).

        Raises:
            kubectl.KubectlError: the cluster refuses, or doesn't respond.
        """
        return await self._objects.result_since(since)

    async def _list_all(self) -> list[Object]:
        found = [await self._list_objects(kinds, selector) for kinds, selector in self._selectors.items()]
        return [one for listed in found for one in listed]

    async def _list_objects(self, kinds: str, selector: str) -> list[Object]:
        arguments = ("get", kinds, "--selector", selector, "--output", "json")
        listed: list[Object] = json.loads(await self._threads.run(kubectl.read, self._settings, *arguments))["items"]
        return listed

    async def warnings(self, *fields: str) -> list[Object]:
        """Return the events of type Warning that match field selectors; none if the cluster doesn't respond."""
        selected = ",".join(("type=Warning", *fields))
        arguments = ("get", "events", "--field-selector", selected, "--output", "json")
        try:
            found: list[Object] = json.loads(await self._threads.run(kubectl.read, self._settings, *arguments))["items"]
        except kubectl.KubectlError:
            return []
        return sorted(found, key=_last_seen)


def _last_seen(event: Object) -> str:
    """Return when an event was last seen, in a form that sorts by time."""
    series = event.get("series") or {}
    found = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return str(found or event["metadata"].get("creationTimestamp", ""))

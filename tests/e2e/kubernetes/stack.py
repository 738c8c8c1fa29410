"""The prod-like stack on the test cluster, and the same cluster asked by kubectl."""

from __future__ import annotations

import json
from typing import Any

from tests.cluster import Cluster
from tests.engine.pulumi_stack import PulumiStack

NAMESPACE = "pti-calendar"


class ClusterStack(PulumiStack):
    """A stack whose workloads are pods."""

    cluster: Cluster

    def remove(self) -> None:
        """Deletes the namespace, with all that is in it."""
        self.end_orphans()
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """kubectl in the platform's namespace."""
        return self.cluster.kubectl("--namespace", NAMESPACE, *arguments, input=input)

    def objects(self, kind: str, *options: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        listed: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "--output=json", *options))["items"]
        return listed

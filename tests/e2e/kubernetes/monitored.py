"""The prod-like stack, watched: with alerts that come within seconds, told to a program of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.cluster.places import ADDRESS
from tests.e2e.kubernetes.pods import port_forward
from tests.e2e.kubernetes.stack import NAMESPACE, ClusterStack
from tests.e2e.shortened_checkout import shortened_checkout
from tests.e2e.watched import THRESHOLDS, Watched, Watchers, receiver
from tests.engine.waiting import DEADLINE_S, until

Right = tuple[str, str]
"""A verb, and a resource."""

LOOKBACK_S = 300
"""For so long Prometheus takes the last sample of a series that just ended for the present one, as that of a pod that
went while Prometheus itself was started anew."""


@dataclass(frozen=True)
class Forwarded(Watchers):
    """Prometheus and Grafana, each on a port of this machine that leads to its pod."""

    prometheus: int
    grafana: int

    def prometheus_url(self) -> str:
        return f"http://127.0.0.1:{self.prometheus}"

    def grafana_url(self) -> str:
        return f"http://127.0.0.1:{self.grafana}"


@contextmanager
def monitored(stack: ClusterStack, folder: Path) -> Iterator[Watched[Forwarded]]:
    """The stack, up and quiet, with the shortened rules; the program and the settings it had before are its next `up`.

    Args:
        stack: up or not.
        folder: where the checkout with the shorter times goes.
    """
    with receiver(ADDRESS) as (people, url), stack.running(shortened_checkout(folder)):
        stack.set_secrets({"alertWebhookUrl": url, "watchdogWebhookUrl": url})
        stack.change(
            {
                "monitoring": {
                    "receivers": {"webhook": True, "watchdog": True},
                    # Each volume is a file system of its own here, so the default limit for disks holds.
                    "thresholds": {"latencyMs": THRESHOLDS["latencyMs"]},
                }
            }
        )
        stack.up().succeeded()
        with (
            port_forward(stack, "statefulset/prometheus", 9090) as prometheus,
            port_forward(stack, "deployment/grafana", 3030) as grafana,
        ):
            found = Watched(Forwarded(prometheus, grafana), stack.platform(), people)
            until("nothing of before is left", lambda: len(found.stack.alerts()) == 1, LOOKBACK_S + DEADLINE_S)
            found.calm()
            yield found


def rights(stack: ClusterStack, account: str) -> set[Right]:
    """Everything that the API server lets a service account of the namespace do, as it says itself."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": NAMESPACE},
    }
    told = _reviewed(stack, account, review)
    return {
        (verb, resource)
        for rule in told["status"]["resourceRules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }


def may(stack: ClusterStack, account: str, right: Right) -> bool:
    """Whether the API server lets a service account of the namespace do it."""
    verb, (resource, _, subresource) = right[0], right[1].partition("/")
    asked = {"verb": verb, "resource": resource, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked if resource == "nodes" else {**asked, "namespace": NAMESPACE}},
    }
    told = _reviewed(stack, account, review)
    return bool(told["status"]["allowed"])


def _reviewed(stack: ClusterStack, account: str, review: Mapping[str, Any]) -> Any:
    """The API server's answer to a review that the account asks for itself."""
    # To validate, kubectl lists the cluster's own kinds, which the account may not.
    command = ("create", "--validate=false", "--filename=-", "--output=json")
    return json.loads(
        stack.kubectl(f"--as=system:serviceaccount:{NAMESPACE}:{account}", *command, input=json.dumps(review))
    )

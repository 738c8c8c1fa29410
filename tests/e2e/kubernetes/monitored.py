"""The prod-like stack with monitoring: alerts fire within seconds and notify a program on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.cluster.constants import NODE_ADDRESS
from tests.e2e.kubernetes.pods import port_forward
from tests.e2e.kubernetes.stack import NAMESPACE, ClusterStack
from tests.e2e.shortened_checkout import shortened_checkout
from tests.e2e.watched import THRESHOLDS, MonitoringClients, Watched, running_receiver
from tests.engine.waiting import DEADLINE_S, until

Right = tuple[str, str]
"""A verb and a resource."""

LOOKBACK_S = 300
"""Time for which Prometheus treats the last sample of an ended series as current, for example that of a pod removed
while Prometheus restarted."""


@dataclass(frozen=True)
class Forwarded(MonitoringClients):
    """Prometheus and Grafana, each forwarded to a port of this machine."""

    prometheus: int
    grafana: int

    def prometheus_url(self) -> str:
        return f"http://127.0.0.1:{self.prometheus}"

    def grafana_url(self) -> str:
        return f"http://127.0.0.1:{self.grafana}"


@contextmanager
def monitored(stack: ClusterStack, folder: Path) -> Iterator[Watched[Forwarded]]:
    """Run the stack with the shortened rules until no alert fires; the next `up` uses the previous program and
    settings.

    Args:
        stack: the stack, up or not.
        folder: where to put the checkout with the shortened times.
    """
    with running_receiver(NODE_ADDRESS) as (receiver, url), stack.running(shortened_checkout(folder)):
        stack.set_secrets({"alertWebhookUrl": url, "heartbeatWebhookUrl": url})
        stack.change(
            {
                "monitoring": {
                    "receivers": {"webhook": True, "heartbeat": True},
                    # Each volume is its own file system here, so the default disk limit holds.
                    "thresholds": {"latencyMs": THRESHOLDS["latencyMs"]},
                }
            }
        )
        stack.up().succeeded()
        with (
            port_forward(stack, "statefulset/prometheus", 9090) as prometheus,
            port_forward(stack, "deployment/grafana", 3030) as grafana,
        ):
            found = Watched(Forwarded(prometheus, grafana), stack.platform(), receiver)
            until(
                "nothing of the previous state is left", lambda: len(found.stack.alerts()) == 1, LOOKBACK_S + DEADLINE_S
            )
            found.wait_until_calm()
            yield found


def rights(stack: ClusterStack, account: str) -> set[Right]:
    """Return all permissions of a service account in the namespace, as reported by the API server."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": NAMESPACE},
    }
    response = _reviewed(stack, account, review)
    return {
        (verb, resource)
        for rule in response["status"]["resourceRules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }


def may(stack: ClusterStack, account: str, right: Right) -> bool:
    """Return whether the API server grants a service account of the namespace a permission."""
    verb, (resource, _, subresource) = right[0], right[1].partition("/")
    attributes = {"verb": verb, "resource": resource, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes if resource == "nodes" else {**attributes, "namespace": NAMESPACE}},
    }
    response = _reviewed(stack, account, review)
    return bool(response["status"]["allowed"])


def _reviewed(stack: ClusterStack, account: str, review: Mapping[str, Any]) -> Any:
    """Return the API server's response to an access review that the account requests for itself."""
    # Validation would require kubectl to list the cluster's own kinds, which the account may not do.
    command = ("create", "--validate=false", "--filename=-", "--output=json")
    return json.loads(
        stack.kubectl(f"--as=system:serviceaccount:{NAMESPACE}:{account}", *command, input=json.dumps(review))
    )

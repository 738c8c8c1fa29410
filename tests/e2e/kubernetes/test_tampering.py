"""Failures around a running prod stack: the API server, the container runtime, another team's webhook, a frozen pod, a
taint, and what people do with kubectl and in a store's own shell.

Each test leaves the stack healthy.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import node, processes
from tests.e2e.kubernetes.stack import NAMESPACE, ClusterStack
from tests.e2e.kubernetes.under_load import recovered, requests_sent, under_load
from tests.engine.waiting import until
from tests.failures import FailureRecord

pytestmark = pytest.mark.restarts("the liveness probe ends a frozen process")

WEBHOOK = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "policy-of-another-team"},
    "webhooks": [
        {
            "name": "pods.policy.example",
            "clientConfig": {"service": {"name": "policy", "namespace": "default"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 5,
        }
    ],
}
RESTART_DEADLINE_S = 300
"""The liveness probe restarts a pod after two to three minutes."""

TAINT = "maintenance=now:NoExecute"


def test_the_platform_serves_while_the_api_server_is_down(
    small_stack: ClusterStack, failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "The cluster's API server stops", on="Kubernetes", effect="nothing; previews and updates name the server"
    )
    with under_load(small_stack, failure_record) as load:
        processes.stop("apiserver")
        requests_sent(load)
        refused = small_stack.up("--refresh").failed()
        with failure_record.measure_recovery():
            node.start_node()
            recovered(small_stack)
    assert "unreachable" in refused.output
    assert load.failures == []
    small_stack.preview("--refresh", "--expect-no-changes").succeeded()


def test_pods_keep_running_without_the_container_runtime(
    small_stack: ClusterStack, failure_record: FailureRecord
) -> None:
    failure_record.begin("The container runtime stops", on="Kubernetes", effect="nothing: the pods keep running")
    before = small_stack.identities()
    with under_load(small_stack, failure_record) as load:
        processes.stop("containerd")
        requests_sent(load)
        with failure_record.measure_recovery():
            node.start_node()
            recovered(small_stack)
    assert small_stack.identities() == before
    assert load.failures == []


def test_a_webhook_without_a_server_is_named(small_stack: ClusterStack, failure_record: FailureRecord) -> None:
    effect = "nothing: the old pods keep serving; the update names the webhook"
    failure_record.begin("An admission webhook has no server, so new pods are refused", on="Kubernetes", effect=effect)
    with small_stack.temporary_configuration():
        small_stack.change({"frontends": {"overrides": {"clientPwa": {"memoryMib": 72}}}})
        with under_load(small_stack, failure_record) as load:
            small_stack.kubectl("apply", "--filename=-", input=json.dumps(WEBHOOK))
            try:
                failed = small_stack.up("--refresh").failed()
            finally:
                small_stack.kubectl("delete", "--filename=-", input=json.dumps(WEBHOOK))
            with failure_record.measure_recovery():
                small_stack.up("--refresh").succeeded()
                recovered(small_stack)
    assert 'failed calling webhook "pods.policy.example"' in failed.output
    assert load.failures == []


def test_a_rollout_paused_by_hand_goes_on_with_the_next_update(
    small_stack: ClusterStack, failure_record: FailureRecord
) -> None:
    effect = "nothing: the old pods keep serving until the next `up`"
    failure_record.begin("A Deployment was paused by hand before a release", on="Kubernetes", effect=effect)
    before = small_stack.identities()
    with under_load(small_stack, failure_record) as load:
        small_stack.kubectl("rollout", "pause", "deployment/client-pwa")
        small_stack.change({"frontends": {"overrides": {"clientPwa": {"memoryMib": 80}}}})
        with failure_record.measure_recovery():
            small_stack.up("--refresh").succeeded()
            recovered(small_stack)
    assert small_stack.rolled_since(before) == {"client-pwa"}
    assert load.failures == []


def test_a_node_selector_added_by_hand_is_removed(small_stack: ClusterStack, failure_record: FailureRecord) -> None:
    effect = "nothing: the old pods keep serving until the next `up`"
    failure_record.begin("A Deployment got a node selector and a container by hand", on="Kubernetes", effect=effect)
    container = {"name": "debug", "image": "redis:8.10.1", "command": ["false"]}
    template = {"spec": {"containers": [container], "nodeSelector": {"disk": "fast"}}}
    with under_load(small_stack, failure_record) as load:
        small_stack.kubectl("patch", "deployment/rdv", f"--patch={json.dumps({'spec': {'template': template}})}")
        requests_sent(load)
        with failure_record.measure_recovery():
            small_stack.up("--refresh").succeeded()
            recovered(small_stack)
    spec = json.loads(small_stack.kubectl("get", "deployment/rdv", "--output=json"))["spec"]["template"]["spec"]
    assert "nodeSelector" not in spec
    assert [one["name"] for one in spec["containers"]] == ["rdv"]
    assert load.failures == []


def test_redis_follows_a_server_that_does_not_exist(small_stack: ClusterStack, failure_record: FailureRecord) -> None:
    failure_record.begin("Redis is made a replica of a server that doesn't exist", on="Kubernetes", effect="nothing")
    password = small_stack.outputs().credentials.redis
    assert password
    command = "IFS= read -r REDISCLI_AUTH; export REDISCLI_AUTH; redis-cli REPLICAOF 10.255.255.1 6379"
    with under_load(small_stack, failure_record) as load:
        small_stack.kubectl("exec", "--stdin", "redis-0", "--", "sh", "-c", command, input=f"{password}\n")
        requests_sent(load)
        with failure_record.measure_recovery():
            small_stack.kubectl("delete", "pod", "redis-0")
            recovered(small_stack)
    assert load.failures == []


def test_one_of_two_gateway_pods_freezes(small_stack: ClusterStack, failure_record: FailureRecord) -> None:
    effect = "requests to that pod wait or fail until it is unready"
    failure_record.begin("One of two gateway pods stops responding (`SIGSTOP`)", on="Kubernetes", effect=effect)
    name, pod = next(iter(small_stack.pods("kong").items()))

    def restarts() -> int:
        return int(small_stack.pods("kong")[name]["status"]["containerStatuses"][0]["restartCount"])

    with under_load(small_stack, failure_record), frozen(pod), failure_record.measure_recovery():
        until("it was restarted", lambda: restarts() > 0, RESTART_DEADLINE_S)
        recovered(small_stack)


def test_a_taint_evicts_every_pod(small_stack: ClusterStack, failure_record: FailureRecord) -> None:
    effect = "the platform is unavailable until the taint is removed"
    failure_record.begin("The node gets a `NoExecute` taint by mistake", on="Kubernetes", effect=effect)
    nodes = json.loads(small_stack.cluster.kubectl("get", "nodes", "--output=json"))["items"]
    name = nodes[0]["metadata"]["name"]
    with under_load(small_stack, failure_record):
        small_stack.cluster.kubectl("taint", "node", name, TAINT)
        try:
            until("no pod runs", lambda: {one["status"]["phase"] for one in small_stack.pods().values()} == {"Pending"})
        finally:
            small_stack.cluster.kubectl("taint", "node", name, f"{TAINT}-")
        with failure_record.measure_recovery():
            recovered(small_stack)
    small_stack.preview("--refresh", "--expect-no-changes").succeeded()


@contextmanager
def frozen(pod: dict[str, Any]) -> Iterator[None]:
    """Stop the processes of a pod with SIGSTOP for the duration of the context."""
    uid = pod["metadata"]["uid"]
    pids = []
    for group in Path("/proc").glob("[0-9]*/cgroup"):
        with suppress(OSError):
            if uid in group.read_text().replace("_", "-"):
                pids.append(int(group.parent.name))
    assert pids, f"pod {uid} has no process"
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

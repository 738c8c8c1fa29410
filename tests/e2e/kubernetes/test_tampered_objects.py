"""Objects of a running prod stack that somebody changes by hand: `make up` restores them, and no data is lost.

Each test leaves the stack healthy.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from backends.kubernetes import labels
from operations.cluster import repair
from settings.backend import KubernetesSettings
from testbed.cluster.access import kubectl_program
from tests.e2e.kubernetes.stack import NAMESPACE, ClusterStack
from tests.e2e.kubernetes.under_load import recovered, requests_sent, under_load
from tests.engine.pulumi_stack import Outcome
from tests.engine.waiting import until
from tests.failures import FailureRecord

CLAIM = "redis-data-redis-0"
OPEN_TO_ALL: dict[str, Any] = {}
"""A rule of a NetworkPolicy without a restriction."""

NEW_RELEASE = {"services": {"environment": {"RELEASE": "2"}}}


@pytest.fixture(autouse=True)
def kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put kubectl on the path, for `make up`."""
    monkeypatch.setenv("PATH", f"{kubectl_program().parent}:{os.environ['PATH']}")


def make_up(stack: ClusterStack) -> Outcome:
    """Update the stack as `make up` does."""
    cluster = stack.cluster
    settings = KubernetesSettings(kubeconfig=str(cluster.kubeconfig), context=cluster.context, namespace=NAMESPACE)
    repair(settings, labels.instance(stack.name))
    outcome = stack.up("--refresh").succeeded()
    recovered(stack)
    return outcome


def patch(stack: ClusterStack, target: str, **spec: Any) -> None:
    """Change an object's spec by hand."""
    stack.kubectl("patch", target, "--type=merge", f"--patch={json.dumps({'spec': spec})}")


def get(stack: ClusterStack, target: str) -> dict[str, Any]:
    """Return one object."""
    found: dict[str, Any] = json.loads(stack.kubectl("get", target, "--output=json"))
    return found


def test_fields_added_by_hand_are_removed(small_stack: ClusterStack, failure_record: FailureRecord) -> None:
    """The refresh doesn't find these fields: the provider only compares the fields of its inputs."""
    failure_record.begin(
        "A Service gets another label in its selector, and a NetworkPolicy a rule that admits everybody, by hand",
        on="Kubernetes",
        effect="502 and 503 from that service until the next `make up`",
    )
    service, policy = get(small_stack, "service/user")["spec"], get(small_stack, "networkpolicy/redis")["spec"]
    with under_load(small_stack, failure_record) as load:
        patch(small_stack, "networkpolicy/redis", ingress=[*policy["ingress"], OPEN_TO_ALL])
        patch(small_stack, "service/user", selector={"version": "2"})
        requests_sent(load)
        with failure_record.measure_recovery():
            updated = make_up(small_stack)
    assert {"update Service user", "update NetworkPolicy redis"} <= set(updated.changes)
    assert get(small_stack, "service/user")["spec"]["selector"] == service["selector"]
    assert get(small_stack, "networkpolicy/redis")["spec"] == policy
    assert make_up(small_stack).changes == []


def test_a_pod_without_its_labels_gets_them_back(small_stack: ClusterStack, failure_record: FailureRecord) -> None:
    effect = "every service answers 503 until the next `make up`; the pod isn't restarted"
    failure_record.begin("The labels of PostgreSQL's pod are removed by hand", on="Kubernetes", effect=effect)
    before = small_stack.identities()
    selected = get(small_stack, "service/postgres")["spec"]["selector"]
    with under_load(small_stack, failure_record) as load:
        small_stack.kubectl("label", "pod", "postgres-0", *(f"{name}-" for name in selected))
        requests_sent(load)
        with failure_record.measure_recovery():
            make_up(small_stack)
    assert small_stack.identities() == before


def test_deleted_configuration_and_accounts_are_created_again(
    small_stack: ClusterStack, failure_record: FailureRecord
) -> None:
    effect = "nothing while pods keep running; new pods don't start until the next `up`"
    failure_record.begin("All ConfigMaps, Secrets and ServiceAccounts are deleted", on="Kubernetes", effect=effect)
    with under_load(small_stack, failure_record) as load:
        small_stack.kubectl("delete", "configmaps,secrets,serviceaccounts", "--all")
        for workload in ("rdv", "kong", "nginx", "client-pwa"):
            small_stack.kubectl("delete", "pod", next(iter(small_stack.pods(workload))), "--wait=false")
        requests_sent(load)
        with failure_record.measure_recovery():
            make_up(small_stack)
    small_stack.preview("--refresh", "--expect-no-changes").succeeded()


def test_a_strategy_changed_by_hand_does_not_stop_a_release(
    small_stack: ClusterStack, failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "A StatefulSet is set to `OnDelete` by hand before a release",
        on="Kubernetes",
        effect="nothing; the next `up` restores the strategy and rolls the release out",
    )
    before = small_stack.identities()
    with under_load(small_stack, failure_record):
        patch(small_stack, "statefulset/redis", updateStrategy={"type": "OnDelete", "rollingUpdate": None})
        small_stack.change({"redis": {"maxMemoryMib": 72}})
        with failure_record.measure_recovery():
            make_up(small_stack)
    assert "redis" in small_stack.rolled_since(before)


def test_an_older_state_is_brought_up_to_date(
    small_stack: ClusterStack, failure_record: FailureRecord, tmp_path: Path
) -> None:
    title = "The state is restored from a copy older than the last release"
    failure_record.begin(title, on="Kubernetes", effect="nothing; the next `up` completes the state")
    older = tmp_path / "state.json"
    older.write_text(json.dumps(small_stack.export()))
    with under_load(small_stack, failure_record) as load:
        small_stack.change(NEW_RELEASE)
        small_stack.up("--refresh").succeeded()
        small_stack.import_state(older)
        with failure_record.measure_recovery():
            make_up(small_stack)
    assert load.failures == []
    small_stack.preview("--refresh", "--expect-no-changes").succeeded()


def test_a_rollback_by_hand_is_reverted(small_stack: ClusterStack, failure_record: FailureRecord) -> None:
    effect = "nothing: the pods of the earlier release serve until the next `up`"
    failure_record.begin("A release is rolled back with `kubectl rollout undo`", on="Kubernetes", effect=effect)
    small_stack.change({"services": {"environment": {"RELEASE": "3"}}})
    small_stack.up("--refresh").succeeded()
    assert release(small_stack, "rdv") == "3"
    with under_load(small_stack, failure_record) as load:
        small_stack.kubectl("rollout", "undo", "deployment/rdv")
        requests_sent(load)
        assert release(small_stack, "rdv") != "3"
        with failure_record.measure_recovery():
            make_up(small_stack)
    assert load.failures == []
    assert release(small_stack, "rdv") == "3"


def release(stack: ClusterStack, deployment: str) -> str | None:
    """Return the variable `RELEASE` of a Deployment's pods."""
    (container,) = get(stack, f"deployment/{deployment}")["spec"]["template"]["spec"]["containers"]
    found: str | None = {one["name"]: one.get("value") for one in container["env"]}.get("RELEASE")
    return found


def test_labels_removed_by_hand_are_restored(small_stack: ClusterStack, failure_record: FailureRecord) -> None:
    title = "The stack's label is removed from its namespace and its objects"
    failure_record.begin(title, on="Kubernetes", effect="nothing; the next `up` restores it")
    removed = f"{labels.INSTANCE_LABEL}-"
    with under_load(small_stack, failure_record) as load, failure_record.measure_recovery():
        small_stack.cluster.kubectl("label", "namespace", NAMESPACE, removed)
        small_stack.kubectl("label", "deployments,services,statefulsets,persistentvolumeclaims", "--all", removed)
        make_up(small_stack)
    assert load.failures == []
    restored = get(small_stack, "service/rdv")["metadata"]["labels"]
    assert restored[labels.INSTANCE_LABEL] == labels.instance(small_stack.name)
    small_stack.preview("--refresh", "--expect-no-changes").succeeded()


def test_a_claim_that_is_being_deleted_is_reported_while_its_data_can_be_kept(
    small_stack: ClusterStack, failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "The claim of Redis is deleted while its pod uses it",
        on="Kubernetes",
        effect="nothing; preview and update refuse to continue and name the command that keeps the data",
    )
    volume = get(small_stack, f"pvc/{CLAIM}")["spec"]["volumeName"]
    with under_load(small_stack, failure_record):
        small_stack.kubectl("delete", f"pvc/{CLAIM}", "--wait=false")
        with failure_record.measure_recovery():
            for refused in (small_stack.preview("--refresh").failed(), small_stack.up("--refresh").failed()):
                assert f"The claim '{CLAIM}' with this stack's data is being deleted" in refused.output
                assert f"kubectl patch pv {volume}" in refused.output
            # Run the message's command, then follow docs/stores.md, "A claim or volume is missing".
            keep = {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}
            small_stack.kubectl("patch", f"pv/{volume}", f"--patch={json.dumps(keep)}")
            small_stack.kubectl("scale", "statefulset/redis", "--replicas=0")
            until("the pod is gone", lambda: not small_stack.every_pod("redis"))
            small_stack.kubectl("delete", f"pvc/{CLAIM}", "--ignore-not-found", "--wait=true")
            reserved = {"namespace": NAMESPACE, "name": CLAIM, "uid": None, "resourceVersion": None}
            patch(small_stack, f"pv/{volume}", claimRef=reserved)
            small_stack.forget(small_stack.up("--refresh").record())
            make_up(small_stack)
    assert get(small_stack, f"pvc/{CLAIM}")["spec"]["volumeName"] == volume

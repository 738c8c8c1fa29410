"""The prod stack's data on a real node: changes that would lose it are refused, and a lost PVC is restored as
documented.

Each test can run alone and leaves the stack healthy.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from backends.kubernetes.claims import MISSING_CLAIM_CLASS
from tests.e2e.counted import counted
from tests.e2e.kubernetes import extensions
from tests.e2e.kubernetes.stack import NAMESPACE, ClusterStack
from tests.engine.waiting import until
from tests.failures import FailureRecord

CLAIM_NAME = "postgres-data-postgres-0"
TENANT = uuid.uuid4()
BOOKING_TITLE = "kept while its claim is away"

CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "fewer brokers": ({"kafka": {"brokers": 1}}, "kafka.brokers can't change from '3' to '1'"),
    "another namespace": ({"kubernetes": {"namespace": "elsewhere"}}, "kubernetes.namespace can't change from"),
    "another storage class": ({"kubernetes": {"storageClass": "fast"}}, "kubernetes.storageClass can't change from"),
    "a smaller volume": ({"postgres": {"storageGib": 4}}, "can't shrink from 5 to 4 GiB"),
}
"""The changed settings, and the expected error."""


@pytest.fixture(scope="module", autouse=True)
def _row(few_workloads: ClusterStack) -> None:
    """A row that must still exist at the end."""
    assert few_workloads.platform().book(TENANT, title=BOOKING_TITLE).status == 201


@pytest.mark.parametrize("what", CHANGES)
def test_a_preview_refuses_what_kept_data_does_not_allow(stack: ClusterStack, what: str) -> None:
    _refused(stack, *CHANGES[what])


def test_a_preview_refuses_another_mode_if_its_operator_is_installed(stack: ClusterStack, tmp_path: Path) -> None:
    """The operator's CRDs are installed; without them, the preview fails earlier: see test_prod_rollouts.py."""
    extensions.install(stack.cluster, "Cluster", tmp_path)
    try:
        _refused(stack, {"postgres": {"mode": "cloudnativepg"}}, "postgres.mode can't change from 'statefulset'")
    finally:
        extensions.remove(stack.cluster, "Cluster", tmp_path)


def _refused(stack: ClusterStack, values: dict[str, Any], refusal: str) -> None:
    before = stack.identities()
    with stack.temporary_configuration():
        stack.change(values)
        refused = stack.preview().failed()
    assert refusal in refused.output
    assert "pulumi state delete" in refused.output
    assert stack.identities() == before


def test_a_lost_claim_leaves_the_pod_pending_and_comes_back_with_its_data(
    stack: ClusterStack, failure_record: FailureRecord
) -> None:
    effect = "its pod stays pending; every update names the missing claim and how to restore it"
    failure_record.begin("PostgreSQL's claim is deleted", on="Kubernetes", effect=effect)
    with counted(stack.platform(), failure_record), failure_record.measure_recovery():
        _lose_and_restore_the_claim(stack)
    assert BOOKING_TITLE in stack.platform().titles(TENANT)
    failure_record.set_lost("nothing, if the storage class retains released volumes")
    stack.preview("--expect-no-changes").succeeded()


def _lose_and_restore_the_claim(stack: ClusterStack) -> None:
    """Delete the claim, check that the pod waits and that an update is refused, and do what docs/stores.md says."""
    volume = _claim(stack)["spec"]["volumeName"]
    _scale(stack, 0)
    stack.kubectl("delete", f"pvc/{CLAIM_NAME}", "--wait=true")
    _scale(stack, 1)

    # The StatefulSet recreates the PVC from a template that no storage class can satisfy.
    until(
        "the StatefulSet has created the claim",
        lambda: _claim(stack)["spec"]["storageClassName"] == MISSING_CLAIM_CLASS,
    )
    until(
        "the pod waits for it",
        lambda: [pod["status"]["phase"] for pod in stack.pods("postgres").values()] == ["Pending"],
    )
    refused = stack.up("--refresh").failed()
    assert f"The claim '{CLAIM_NAME}' with this stack's data is missing" in refused.output
    assert [pod["status"]["phase"] for pod in stack.pods("postgres").values()] == ["Pending"]

    # Follow the steps in docs/stores.md, "A claim or volume is missing".
    _scale(stack, 0)
    stack.kubectl("delete", f"pvc/{CLAIM_NAME}", "--wait=true")
    reserved = {"namespace": NAMESPACE, "name": CLAIM_NAME, "uid": None, "resourceVersion": None}
    stack.kubectl("patch", f"pv/{volume}", "--type=merge", f"--patch={json.dumps({'spec': {'claimRef': reserved}})}")
    stack.forget(stack.up("--refresh").record())
    stack.up("--refresh").succeeded()

    assert _claim(stack)["spec"]["volumeName"] == volume


def _claim(stack: ClusterStack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        stack.kubectl("get", f"pvc/{CLAIM_NAME}", "--ignore-not-found", "--output=json") or "{}"
    )
    return found or {"spec": {"storageClassName": None}, "status": {}}


def _scale(stack: ClusterStack, replicas: int) -> None:
    stack.kubectl("scale", "statefulset/postgres", f"--replicas={replicas}")
    until(f"{replicas} pods exist", lambda: len(stack.pods("postgres")) == replicas)

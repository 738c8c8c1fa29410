"""Manual changes in a cluster that the provider doesn't find; the next `make up` repairs them."""

from __future__ import annotations

from typing import Any

import pytest

from backends.kubernetes.labels import INSTANCE_LABEL
from backends.kubernetes.manual_changes import repairs
from tests.unit import rollout_objects as objects

STACK = "pti-calendar-prod"
SELECTED = {"app.kubernetes.io/name": "store", "app.kubernetes.io/part-of": "pti-calendar"}
RESTARTED_AT: dict[str, Any] = {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}
RESTARTED: dict[str, Any] = {"f:template": {"f:metadata": {"f:annotations": RESTARTED_AT}}}


def policy(manager: str, fields: dict[str, Any], *, owner: str = STACK, **entry: str) -> dict[str, Any]:
    """Return a network policy with fields that a manager has set, besides those of the program."""
    managed = [
        {"manager": "pulumi-kubernetes-1", "fieldsV1": {"f:metadata": {}, "f:spec": {"f:podSelector": {}}}},
        {"manager": manager, "fieldsV1": fields, **entry},
    ]
    metadata = {"name": "redis", "labels": {INSTANCE_LABEL: owner}, "managedFields": managed}
    return {"kind": "NetworkPolicy", "metadata": metadata}


def store(*, pods: int = 1) -> dict[str, Any]:
    """Return a StatefulSet of one pod, with `pods` of them."""
    found = objects.stateful_set(ready=pods, current="new")
    found["metadata"]["labels"] = {INSTANCE_LABEL: STACK}
    found["spec"]["selector"] = {"matchLabels": SELECTED}
    return found


def pod(labels: dict[str, str], owner: str = "store") -> dict[str, Any]:
    found = objects.pod("store-0", owner or "store")
    found["metadata"]["labels"] = labels
    if not owner:
        del found["metadata"]["ownerReferences"]
    return found


def test_an_object_changed_with_kubectl_loses_a_label_so_that_the_update_applies_it() -> None:
    (found,) = repairs([policy("kubectl-edit", {"f:spec": {"f:ingress": {}}})], STACK)
    assert found.message == "NetworkPolicy redis was changed by hand (spec.ingress); the update restores it"
    assert found.commands == (("label", "networkpolicy/redis", "app.kubernetes.io/managed-by-"),)


def test_a_path_ends_at_the_first_field_with_several_subfields() -> None:
    (found,) = repairs([policy("kubectl", {"f:spec": {"f:template": {"f:spec": {"f:a": {}, "f:b": {}}}}})], STACK)
    assert "(spec.template.spec)" in found.message


@pytest.mark.parametrize(
    "unchanged",
    [
        policy("kubectl-label", {"f:metadata": {"f:labels": {}}}),
        policy("kubectl-rollout", {"f:spec": RESTARTED}),
        policy("kubectl", {"f:spec": {"f:replicas": {}}}, subresource="scale"),
        policy("kube-controller-manager", {"f:spec": {"f:ingress": {}}}),
        policy("kubectl-edit", {"f:spec": {"f:ingress": {}}}, owner="pti-calendar-other"),
    ],
    ids=["label", "restart", "scale", "controller", "other stack"],
)
def test_other_changes_need_no_repair(unchanged: dict[str, Any]) -> None:
    assert [*repairs([unchanged], STACK)] == []


def test_a_pod_without_its_labels_gets_them_back() -> None:
    (found,) = repairs([store(pods=0), pod({"app.kubernetes.io/component": "stateful"}, owner="")], STACK)
    selected = ("app.kubernetes.io/name=store", "app.kubernetes.io/part-of=pti-calendar")
    assert found.commands == (("label", "pod/store-0", "--overwrite", *selected),)


def test_a_controller_without_its_pod_tries_again() -> None:
    (found,) = repairs([store(pods=0)], STACK)
    assert [one[:2] for one in found.commands] == [("annotate", "statefulset/store")] * 2


def test_a_complete_controller_is_left_alone() -> None:
    assert [*repairs([store(), pod(SELECTED)], STACK)] == []

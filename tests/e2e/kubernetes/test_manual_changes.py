"""Manual changes that the provider's refresh doesn't find: `make up` repairs them.

The API server is real but has no controllers: no pod starts, and a deleted claim stays Terminating.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from backends.kubernetes import labels
from operations.cluster import repair
from settings.backend import KubernetesSettings
from testbed.cluster.access import kubectl_program
from tests.e2e.kubernetes.test_ownership import MakeStack, OwnStack, make_stack

__all__ = ["make_stack"]

CLAIM = "data-store-0"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "store-0", "labels": {"app.kubernetes.io/component": "stateful"}},
    "spec": {
        "containers": [
            {
                "name": "store",
                "image": "store:1",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    },
}


@pytest.fixture(autouse=True)
def kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put kubectl on the path, as on an operator's machine."""
    monkeypatch.setenv("PATH", f"{kubectl_program().parent}:{os.environ['PATH']}")


def make_up(stack: OwnStack) -> list[str]:
    """Update as `make up` does; return the changes."""
    server = stack.server
    settings = KubernetesSettings(kubeconfig=str(server.kubeconfig), context=server.context, namespace=stack.namespace)
    repair(settings, labels.instance(stack.name))
    return stack.up("--refresh").succeeded().changes


def get(stack: OwnStack, target: str) -> dict[str, Any]:
    """Return one object."""
    found: dict[str, Any] = json.loads(stack.kubectl("get", target, "--output=json"))
    return found


def test_fields_added_by_hand_are_removed(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.up().succeeded()
    targets = ("service/store-peers", "networkpolicy/store", "deployment/web")
    before = {target: get(stack, target)["spec"] for target in targets}
    rules = [*before["networkpolicy/store"].get("ingress", []), {}]
    for target, spec in (
        ("service/store-peers", {"selector": {"version": "2"}}),
        ("networkpolicy/store", {"ingress": rules}),
    ):
        stack.kubectl("patch", target, "--type=merge", f"--patch={json.dumps({'spec': spec})}")
    stack.kubectl("set", "env", "deployment/web", "DEBUG=true")

    restored = {"update Service store-peers", "update NetworkPolicy store", "update Deployment web"}
    assert not restored & set(stack.up("--refresh").succeeded().changes), "if a refresh finds it, `repair` is needless"
    assert restored <= set(make_up(stack))
    assert {target: get(stack, target)["spec"] for target in targets} == before
    assert make_up(stack) == []


def test_a_restart_by_hand_is_left_alone(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.up().succeeded()
    stack.kubectl("rollout", "restart", "deployment/web")
    assert "update Deployment web" not in make_up(stack)


def test_a_pod_without_its_labels_gets_them_back(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.up().succeeded()
    stack.server.kubectl("--namespace", stack.namespace, "create", "--filename=-", input=json.dumps(POD))

    make_up(stack)

    selected = get(stack, "statefulset/store")["spec"]["selector"]["matchLabels"]
    assert selected.items() <= get(stack, "pod/store-0")["metadata"]["labels"].items()


def test_a_claim_that_is_being_deleted_is_reported_while_its_data_can_be_kept(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.up().succeeded()
    stack.kubectl("delete", f"pvc/{CLAIM}", "--wait=false")
    for refused in (stack.preview("--refresh").failed(), stack.up("--refresh").failed()):
        assert f"The claim '{CLAIM}' with this stack's data is being deleted" in refused.output
        assert "docs/stores.md#a-claim-or-volume-is-missing" in refused.output
    # Without controllers, nothing else removes the finalizer.
    stack.kubectl("patch", f"pvc/{CLAIM}", "--type=merge", '--patch={"metadata": {"finalizers": null}}')

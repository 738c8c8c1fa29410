"""Ownership of cluster objects, and the effect of moving resources in the program.

The API server is real but has no controllers: objects stay as written, and no pod starts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.kubernetes.labels import INSTANCE_LABEL
from testbed import cluster
from tests.engine.pulumi_stack import PulumiStack

PROGRAM = Path(__file__).parent / "programs" / "store"
KINDS = "deployments,statefulsets,networkpolicies,serviceaccounts,services,persistentvolumeclaims"


class OwnStack(PulumiStack):
    """A stack of the small program in a namespace.

    Args:
        home: directory for state, configuration and logs.
        server: the API server.
        namespace: its own namespace, or one shared with another stack.
    """

    def __init__(self, home: Path, server: cluster.Cluster, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        super().__init__(
            home,
            program=PROGRAM,
            configuration={"kubeconfig": str(server.kubeconfig), "context": server.context, "namespace": namespace},
        )

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in its namespace."""
        return self.server.kubectl("--namespace", self.namespace, *arguments)

    def objects(self) -> dict[str, str]:
        """Map kind and name of each object to its UID."""
        listed = json.loads(self.kubectl("get", KINDS, "--output=json"))["items"]
        return {f"{one['kind']} {one['metadata']['name']}": one["metadata"]["uid"] for one in listed}

    def manifests(self) -> dict[str, Any]:
        """Return the namespace and its objects as stored; each write changes a `resourceVersion`."""
        namespace = self.server.kubectl("get", "namespace", self.namespace, "--output=json")
        return {"namespace": json.loads(namespace), "objects": json.loads(self.kubectl("get", KINDS, "--output=json"))}

    def remove(self) -> None:
        """Remove the stack's objects but not the namespace, whose deletion would never complete without controllers."""
        self.end_orphans()
        self.kubectl("delete", KINDS, "--all", "--wait=false")


MakeStack = Callable[..., OwnStack]


@pytest.fixture
def make_stack(api_server: cluster.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeStack]:
    """Return a function that makes stacks, each in its own namespace by default."""
    made: list[OwnStack] = []

    def stack(namespace: str | None = None) -> OwnStack:
        home = tmp_path_factory.mktemp("stack")
        made.append(OwnStack(home, api_server, namespace or f"own-{len(made)}-{home.parent.name}-{home.name}"))
        return made[-1]

    yield stack
    for one in made:
        one.remove()


def test_a_move_leaves_every_object_until_the_program_names_the_former_address(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.up().succeeded()
    before = stack.objects()

    stack.configure({"deeper": True})
    for refused in (stack.preview().failed(), stack.up().failed()):
        assert "apps:Deployment web" in refused.output
        assert "MOVED in backends/addresses.py" in refused.output
        assert "Traceback" not in refused.output
    assert stack.objects() == before

    stack.configure({"moved": dict(re.findall(r'"(\S+)": "(\S+)",', refused.output))})
    assert stack.up().succeeded().changes == ["update Stash addresses"]
    assert stack.objects() == before
    stack.configure({"moved": {}})
    stack.preview("--expect-no-changes").succeeded()


def test_objects_that_outlived_the_state_are_adopted(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.up().succeeded()
    before = stack.objects()

    stack.lose_state()
    stack.preview().succeeded()
    stack.up().succeeded()
    assert stack.objects() == before
    stack.preview("--expect-no-changes").succeeded()


def test_objects_of_another_stack_are_refused_by_name(make_stack: MakeStack) -> None:
    first = make_stack()
    first.up().succeeded()
    before = first.objects()

    second = make_stack(first.namespace)
    for refused in (second.preview().failed(), second.up().failed()):
        assert f"The Namespace '{first.namespace}' already exists" in refused.output
        assert f"belongs to 'pti-calendar-{first.name}'" in refused.output
        assert "Traceback" not in refused.output
    assert first.objects() == before


def test_a_second_stack_in_its_own_namespace_leaves_the_first_unchanged(make_stack: MakeStack) -> None:
    first, second = make_stack(), make_stack()
    first.up().succeeded()
    before = first.manifests()

    second.up().succeeded()
    assert second.objects().keys() == first.objects().keys()
    second.destroy().succeeded()

    assert second.objects().keys() == {"PersistentVolumeClaim data-store-0"}
    assert first.manifests() == before


def test_an_unlabelled_object_is_refused_by_name_until_it_is_labelled(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.server.kubectl("create", "namespace", stack.namespace)
    hand_over = f"{INSTANCE_LABEL}=pti-calendar-{stack.name}"
    assert f"label Namespace.v1. {stack.namespace} {hand_over}" in stack.preview().failed().output
    stack.kubectl("label", "Namespace.v1.", stack.namespace, hand_over)
    stack.kubectl("create", "serviceaccount", "web")
    before = stack.objects()["ServiceAccount web"]

    for refused in (stack.preview().failed(), stack.up().failed()):
        assert "The ServiceAccount 'web' already exists and belongs to an unknown owner" in refused.output
    assert INSTANCE_LABEL not in stack.kubectl("get", "serviceaccount", "web", "--output=json")

    stack.kubectl("label", "ServiceAccount.v1.", "web", hand_over)
    stack.up().succeeded()
    assert stack.objects()["ServiceAccount web"] == before


def test_a_replacement_by_command_creates_the_objects_again(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.up().succeeded()
    before = stack.objects()
    resources = stack.export()["deployment"]["resources"]
    urns = [one["urn"] for one in resources if one["urn"].endswith((":StatefulSet::store", ":Deployment::web"))]
    options = [f"--replace={urn}" for urn in urns]

    preview = stack.preview(*options).succeeded()
    update = stack.up(*options).succeeded()

    assert update.replaced == preview.replaced == {"store", "web"}
    after = stack.objects()
    assert after.keys() == before.keys()
    assert {one for one in before if after[one] != before[one]} == {"StatefulSet store", "Deployment web"}
    stack.preview("--expect-no-changes").succeeded()


@pytest.mark.parametrize("released", ["at present", "before objects had the stack's name"])
def test_a_preview_replaces_a_stateful_set_as_the_update_does_and_its_claims_stay(
    make_stack: MakeStack, released: str
) -> None:
    stack = make_stack()
    stack.up().succeeded()
    before = stack.objects()
    if released != "at present":
        stack.kubectl("label", "statefulset", "store", f"{INSTANCE_LABEL}-")

    stack.configure({"policy": "OrderedReady"})
    preview = stack.preview().succeeded()
    assert "StatefulSet 'store' exists and will be adopted or replaced. Its claims are kept" in preview.output
    assert "Forbidden" not in preview.output
    update = stack.up().succeeded()
    assert update.replaced == preview.replaced == {"store"}
    assert update.changes == preview.changes
    after = stack.objects()
    assert {one for one in before if after.get(one) != before[one]} == {"StatefulSet store"}
    stack.preview("--expect-no-changes").succeeded()

"""Ownership of the cluster's objects; kubectl is a stand-in. tests/e2e/kubernetes/test_ownership.py covers a real
cluster."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.resource_hooks import ResourceHookArgs

from backends.base import DeployOptions
from backends.kubernetes import labels
from backends.kubernetes.backend import NO_KUBECTL_WARNING
from backends.kubernetes.registrar import UNPREVIEWED_LABEL
from recording.recorder import Recording
from tests.unit.kubernetes_recording import (
    CONTROLLERS,
    by_type_and_name,
    find_manifest,
    minimal_workload,
    record_program,
    record_workloads,
)
from workloads import FileSet, Service, StatefulService, Task, Volume, Workload, WorkloadError

HOOK = "kubernetes-refuse-foreign-object"
OWN_LABELS = {labels.INSTANCE_LABEL: "pti-calendar-prod"}
OTHER_STACK_LABELS = {labels.INSTANCE_LABEL: "pti-calendar-test"}
EARLIER_RELEASE_LABELS = labels.platform_labels()
UNKNOWN_OWNER_LABELS = {"app": "web"}

Kubectl = Callable[..., Path]


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    """Put a kubectl on PATH that returns these objects by name; return the file that records its commands."""

    def make(
        objects: Mapping[str, Mapping[str, str]] | None = None, *, kind: str = "Deployment", error: str = ""
    ) -> Path:
        commands, listed, single = tmp_path / "commands", tmp_path / "listed", tmp_path / "single"
        lines = [f"{name}\t{json.dumps(known)}\n" for name, known in (objects or {}).items()]
        listed.write_text("".join(f"{kind}\t{line}" for line in lines))
        single.write_text("".join(lines))
        answer = f'case "$*" in *--ignore-not-found*) cat {single} ;; *) cat {listed} ;; esac'
        failure = f"echo {shlex.quote(error)} >&2; exit 1" if error else answer
        (tmp_path / "kubectl").write_text(f'#!/bin/sh\necho "$*" >> {commands}\n{failure}\n')
        (tmp_path / "kubectl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return commands

    return make


def create(kind: str = "Deployment", name: str = "web") -> None:
    """Return the hook's message for the creation of an object."""
    recording = record_workloads(minimal_workload(StatefulService, volumes=(Volume(name="data", mount="/data"),)))
    call(recording, kind, name)


def call(recording: Recording[Any], kind: str, name: str) -> None:
    """Call the hook for the creation of an object."""
    hook = recording.hooks[HOOK]
    assert isinstance(hook, pulumi.ResourceHook)
    inputs = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}}
    answered = hook.callback(ResourceHookArgs("urn", "", name, kind, new_inputs=inputs))
    assert asyncio.iscoroutine(answered)
    asyncio.run(answered)


@pytest.mark.parametrize("known", [OWN_LABELS, {**OWN_LABELS, **EARLIER_RELEASE_LABELS}])
def test_leftover_objects_of_this_stack_are_adopted(kubectl: Kubectl, known: Mapping[str, str]) -> None:
    kubectl({"web": known})
    create()


def test_missing_objects_are_created(kubectl: Kubectl) -> None:
    commands = kubectl({"other": UNKNOWN_OWNER_LABELS})
    create()
    assert "--context test --namespace pti-calendar" in commands.read_text()
    (listed,) = [one for one in commands.read_text().splitlines() if "--output=jsonpath" in one]
    assert "StatefulSet.v1.apps" in listed
    assert "NetworkPolicy.v1.networking.k8s.io" in listed


def test_an_object_of_another_kind_does_not_count(kubectl: Kubectl) -> None:
    kubectl({"web": OTHER_STACK_LABELS}, kind="Ingress")
    create("StatefulSet")


@pytest.mark.parametrize("preview", [False, True])
@pytest.mark.parametrize(
    ("known", "owner"),
    [
        (OTHER_STACK_LABELS, "'pti-calendar-test'"),
        (EARLIER_RELEASE_LABELS, "a stack of an earlier release"),
        (UNKNOWN_OWNER_LABELS, "an unknown owner"),
    ],
)
def test_objects_of_another_owner_are_refused_by_name(
    kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch, known: Mapping[str, str], owner: str, preview: bool
) -> None:
    kubectl({"web": known})
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: preview)
    with pytest.raises(WorkloadError, match=f"The Deployment 'web' already exists and belongs to {owner}") as e:
        create()
    assert "label Deployment.v1.apps web app.kubernetes.io/instance=pti-calendar-prod --overwrite" in str(e.value)


@pytest.mark.parametrize("known", [EARLIER_RELEASE_LABELS, labels.selector("web")])
def test_a_retained_object_without_the_stack_label_is_adopted(kubectl: Kubectl, known: Mapping[str, str]) -> None:
    """The object is from an earlier release, or a PVC that a StatefulSet created from its template."""
    kubectl({"data-web-0": known}, kind="PersistentVolumeClaim")
    create("PersistentVolumeClaim", "data-web-0")


@pytest.mark.parametrize("known", [OTHER_STACK_LABELS, UNKNOWN_OWNER_LABELS])
def test_a_retained_object_of_another_owner_is_refused(kubectl: Kubectl, known: Mapping[str, str]) -> None:
    kubectl({"data-web-0": known}, kind="PersistentVolumeClaim")
    with pytest.raises(WorkloadError, match="PersistentVolumeClaim 'data-web-0'"):
        create("PersistentVolumeClaim", "data-web-0")


def test_an_object_with_a_generated_name_is_not_checked() -> None:
    keys = FileSet(name="keys", directory="/run/keys", files={"a": "b"}, secret=True)
    recording = record_workloads(minimal_workload(Service, file_sets=(keys,)))
    named = {one.type: HOOK in one.hooks.get("before_create", ()) for one in recording.registrations}
    assert named["kubernetes:apps/v1:Deployment"]
    assert not named["kubernetes:core/v1:Secret"]


def test_only_an_object_with_a_generated_name_is_created_before_its_predecessor_is_deleted() -> None:
    """An object with a fixed name would be adopted and then deleted by `pulumi up --replace`."""
    keys = FileSet(name="keys", directory="/run/keys", files={"a": "b"}, secret=True)
    data = Volume(name="data", mount="/data", size_gib=1)
    recordings = (
        record_workloads(minimal_workload(StatefulService, volumes=(data,), file_sets=(keys,))),
        record_workloads(minimal_workload(Service), minimal_workload(Task, name="once")),
    )
    objects = [one for two in recordings for one in two.registrations if one.type.startswith("kubernetes:")]
    assert {one.type.rpartition(":")[2] for one in objects} >= {
        "StatefulSet",
        "Deployment",
        "Job",
        "Secret",
        "Namespace",
    }
    assert {str(one): one.delete_before_replace for one in objects} == {
        str(one): "name" in one.inputs["metadata"] for one in objects
    }


MISSING_CRD = """error: the server doesn't have a resource type "Cluster\""""


def test_an_unknown_kind_has_no_objects(kubectl: Kubectl) -> None:
    kubectl(error=MISSING_CRD)
    create()


def test_an_unknown_kind_does_not_hide_the_objects_of_others(kubectl: Kubectl, tmp_path: Path) -> None:
    """kubectl answers nothing if one of several kinds is unknown."""
    kubectl({"web": OTHER_STACK_LABELS})
    program = tmp_path / "kubectl"
    fails = f'case "$*" in *,*|*Secret*) echo {shlex.quote(MISSING_CRD)} >&2; exit 1 ;; esac'
    program.write_text(program.read_text().replace("case", f"{fails}\ncase", 1))
    with pytest.raises(WorkloadError, match="belongs to 'pti-calendar-test'"):
        create()


def test_without_the_check_an_update_is_refused_and_a_preview_warns(
    kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(error="forbidden")
    with pytest.raises(WorkloadError, match=r"kubectl can't check who owns Deployment 'web': .*forbidden"):
        create()
    warnings: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", warnings.append)
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    create()
    assert len(warnings) == 1


class TestStatefulSets:
    def test_a_preview_excludes_the_existing_object_from_the_dry_run(self) -> None:
        planned = stateful_set_manifest(record_workloads(minimal_workload(StatefulService), preview=True))
        assert planned["metadata"]["labels"][UNPREVIEWED_LABEL] == pulumi.runtime.rpc.UNKNOWN

    def test_an_update_sends_the_object_unchanged(self) -> None:
        assert (
            UNPREVIEWED_LABEL
            not in stateful_set_manifest(record_workloads(minimal_workload(StatefulService)))["metadata"]["labels"]
        )

    def test_a_preview_reports_that_its_claims_are_kept(
        self, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        messages: list[str] = []
        monkeypatch.setattr(pulumi.log, "info", messages.append)
        monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
        for known in (OWN_LABELS, EARLIER_RELEASE_LABELS):
            kubectl({"web": known}, kind="StatefulSet")
            create("StatefulSet")
        assert len(messages) == 2
        assert "claims are kept" in messages[0]


def stateful_set_manifest(recording: Recording[Any]) -> Mapping[str, Any]:
    """Return the StatefulSet in a recording."""
    return find_manifest(recording, "StatefulSet", "web")


class TestLabel:
    @pytest.mark.parametrize("kind", CONTROLLERS)
    def test_every_object_carries_the_stack_and_no_selector_does(self, kind: type[Workload]) -> None:
        recording = record_workloads(minimal_workload(kind))
        objects = [one for one in recording.registrations if "metadata" in one.inputs]
        assert {one.inputs["metadata"]["labels"][labels.INSTANCE_LABEL] for one in objects} == {"pti-calendar-prod"}
        assert all(labels.INSTANCE_LABEL not in json.dumps(one.inputs.get("spec", {})) for one in objects)

    @pytest.mark.parametrize("stack", ["prod", "a" * 100, "b" * 50 + "-"])
    def test_the_labels_value_is_valid_in_a_cluster(self, stack: str) -> None:
        value = labels.instance(stack)
        assert len(value) <= 63
        assert value[-1].isalnum()
        assert labels.instance(f"{stack}2") != value

    def test_a_preview_without_kubectl_declares_the_same_and_does_not_check_owners(
        self, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def program(backend: Any, parent: pulumi.Resource) -> None:
            backend.deploy(minimal_workload(Service), DeployOptions(parent=parent))
            backend.preflight([])

        monkeypatch.setattr("backends.kubernetes.backend.unreachable_reason", lambda settings: None)
        kubectl()
        complete = record_program(program, preview=True)
        assert complete.log == []
        monkeypatch.setenv("PATH", "/nonexistent")
        recording = record_program(program, preview=True)
        assert by_type_and_name(recording) == by_type_and_name(complete)
        assert recording.log == [f"WARNING {NO_KUBECTL_WARNING}"]

        commands = kubectl({"web": OTHER_STACK_LABELS})
        commands.unlink()
        call(recording, "Deployment", "web")
        assert not commands.exists()

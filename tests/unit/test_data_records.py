"""What a stack's state records about its data, and what its hooks refuse; tests/engine covers a real engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.resource_hooks import ErrorHookArgs, ResourceHookArgs

from backends.data_records import DataRecords
from backends.docker.engine import Engine, EngineError
from backends.docker.identity import StackIdentity
from backends.docker.ownership import Ownership
from backends.docker.volumes import DataVolumes
from backends.kubernetes.claims import MISSING_CLAIM_CLASS
from backends.threads import Threads
from recording.recorder import Recording, record
from tests.unit.conftest import PROD_SECRETS, Deploy, stack_file
from tests.unit.kubernetes_recording import find_manifest, record_workloads, scheduled, stateful, workload
from workloads import FixedSetting, Volume, Workload, WorkloadError

STASH = "pulumi:index:Stash"
BROKERS = FixedSetting("store.brokers", "1", "Put the brokers back.")
CHANGED, REPLACED, CREATED = "data-refuse-changed-setting", "data-refuse-replaced-object", "data-note-creation"


def store(size_gib: int = 5, replicas: int = 1) -> Workload:
    """Return a stateful workload whose volume was created with a number of brokers."""
    volume = Volume(name="data", mount="/data", size_gib=size_gib, fixed=(BROKERS,))
    return stateful("store", volumes=(volume,), replicas=replicas)


def call(recording: Recording[Any], hook: str, name: str, type_: str = STASH, **inputs: Any) -> None:
    """Call a hook like the engine."""
    kept = recording.hooks[hook]
    assert isinstance(kept, pulumi.ResourceHook)
    answered = kept.callback(ResourceHookArgs(f"urn:pulumi:dev::x::{name}", "", name, type_, **inputs))
    assert asyncio.iscoroutine(answered)
    asyncio.run(answered)


def update(recording: Recording[Any], hook: str, name: str, old: Any, new: Any) -> None:
    """Call a hook like the engine for a changed record."""
    call(recording, hook, name, old_inputs={"input": old}, new_inputs={"input": new})


@pytest.fixture(scope="module")
def on_kubernetes() -> Recording[Any]:
    """Deploy the store on Kubernetes."""
    return record_workloads(store(), storage_class="fast", namespace="pti")


class TestClaims:
    def test_a_missing_claim_leaves_the_pod_pending(self, on_kubernetes: Recording[Any]) -> None:
        (template,) = find_manifest(on_kubernetes, "StatefulSet", "store")["spec"]["volumeClaimTemplates"]
        assert template["spec"]["storageClassName"] == MISSING_CLAIM_CLASS

    def test_the_state_records_the_settings_of_the_data(self, on_kubernetes: Recording[Any]) -> None:
        assert on_kubernetes.get("Stash", "store-data-settings").inputs["input"] == {
            "data": {"store.brokers": "1", "kubernetes.storageClass": "fast", "sizeGib": 5}
        }
        assert on_kubernetes.get("Stash", "namespace").inputs["input"] == {
            "namespace": {"kubernetes.namespace": "pti", "kubernetes.context": "test"}
        }

    def test_settings_are_registered_before_claims_and_claims_before_their_users(
        self, on_kubernetes: Recording[Any]
    ) -> None:
        names = [str(one).rpartition(":")[2] for one in on_kubernetes.registrations]
        data = ("Stash store-data-settings", "PersistentVolumeClaim data-store-0", "Stash store-claims")
        for order in [("Stash namespace", "Namespace namespace"), (*data, "StatefulSet store")]:
            assert (*sorted(order, key=names.index),) == order

    def test_a_workload_without_data_only_records_its_rollout(self) -> None:
        assert [one.name for one in record_workloads(workload()).of_type("Stash")] == ["namespace", "web-ready"]

    @pytest.mark.parametrize(
        ("name", "holder", "key", "old", "new", "remedy"),
        [
            ("store-data-settings", "data", "store.brokers", "3", "1", "Put the brokers back."),
            (
                "store-data-settings",
                "data",
                "kubernetes.storageClass",
                "slow",
                "fast",
                "pulumi config rm -s dev --path",
            ),
            ("namespace", "namespace", "kubernetes.namespace", "old", "pti", "another stack"),
            ("namespace", "namespace", "kubernetes.context", "old", "test", "another stack"),
        ],
    )
    def test_a_changed_setting_is_refused(
        self, on_kubernetes: Recording[Any], name: str, holder: str, key: str, old: str, new: str, remedy: str
    ) -> None:
        with pytest.raises(WorkloadError) as refused:
            update(on_kubernetes, CHANGED, name, {holder: {key: old}}, {holder: {key: new}})
        message = str(refused.value)
        assert f"{key} can't change from '{old}' to '{new}'" in message
        assert remedy in message
        assert f"pulumi state delete --stack dev 'urn:pulumi:dev::x::{name}'" in message

    def test_only_the_replaced_value_may_change(self) -> None:
        fixed = FixedSetting("store.version", "4", "Upgrade.", replaces="3")
        recorded = record_workloads(stateful("store", volumes=(Volume(name="data", mount="/data", fixed=(fixed,)),)))
        new = {"data": {"store.version": "4"}}
        update(recorded, CHANGED, "store-data-settings", {"data": {"store.version": "3"}}, new)
        for old in ({"data": {"store.version": "2"}}, {"other": {"store.version": "3"}}):
            with pytest.raises(WorkloadError, match="can't change from"):
                update(recorded, CHANGED, "store-data-settings", old, new)

    def test_a_changed_setting_is_refused_if_another_volume_replaces_the_first(
        self, on_kubernetes: Recording[Any]
    ) -> None:
        old = {"data-of-the-other-mode": {"store.brokers": "3", "sizeGib": 50.0}}
        new = {"data": {"store.brokers": "1", "sizeGib": 5.0}}
        with pytest.raises(WorkloadError) as refused:
            update(on_kubernetes, CHANGED, "store-data-settings", old, new)
        assert "store.brokers can't change from '3' to '1' while 'data-of-the-other-mode'" in str(refused.value)
        assert "size" not in str(refused.value)

    def test_an_additional_volume_is_not_a_change(self, on_kubernetes: Recording[Any]) -> None:
        old = {"data": {"store.brokers": "1"}}
        update(on_kubernetes, CHANGED, "store-data-settings", old, {**old, "more": {"store.brokers": "3"}})

    def test_a_size_may_grow_and_never_shrinks(self, on_kubernetes: Recording[Any]) -> None:
        # The engine returns numbers as floats.
        update(on_kubernetes, CHANGED, "store-data-settings", {"data": {"sizeGib": 5.0}}, {"data": {"sizeGib": 50.0}})
        with pytest.raises(WorkloadError, match="The size of 'data' can't shrink from 50 to 5 GiB"):
            update(
                on_kubernetes, CHANGED, "store-data-settings", {"data": {"sizeGib": 50.0}}, {"data": {"sizeGib": 5.0}}
            )

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ({}, {"data": {"store.brokers": "1"}}),
            ({"data": {}}, {"data": {"store.brokers": "1"}}),
            ({"data": {"store.brokers": "1"}}, {"data": {}}),
            ({"data": {"store.brokers": "1"}}, {}),
        ],
        ids=[
            "a volume is new",
            "a setting is recorded for the first time",
            "a setting is removed",
            "a volume is removed",
        ],
    )
    def test_a_setting_that_is_only_in_one_record_is_not_a_change(
        self, on_kubernetes: Recording[Any], old: Any, new: Any
    ) -> None:
        update(on_kubernetes, CHANGED, "store-data-settings", old, new)

    def test_another_claim_under_the_same_name_is_refused(self, on_kubernetes: Recording[Any]) -> None:
        update(on_kubernetes, REPLACED, "store-claims", {"data-store-0": "a"}, {"data-store-0": "a"})
        with pytest.raises(WorkloadError, match="The claim 'data-store-0' with this stack's data is missing"):
            update(on_kubernetes, REPLACED, "store-claims", {"data-store-0": "a"}, {"data-store-0": "b"})

    def test_a_claim_that_a_preview_would_create_is_refused(self) -> None:
        recording = record_workloads(store())
        before, unknown = {"data-store-0": "a"}, {"data-store-0": object()}
        # The object exists and has only changed.
        update(recording, REPLACED, "store-claims", before, unknown)
        call(recording, CREATED, "data-store-0", new_inputs={"metadata": {"name": "data-store-0"}})
        with pytest.raises(WorkloadError, match="is missing"):
            update(recording, REPLACED, "store-claims", before, unknown)

    def test_every_claim_of_a_group_is_recorded(self) -> None:
        recording = record_workloads(store(replicas=3))
        claims = {one.name for one in recording.of_type("PersistentVolumeClaim")}
        assert recording.get("Stash", "store-claims").inputs["input"].keys() == claims
        assert all(CREATED in one.hooks["before_create"] for one in recording.of_type("PersistentVolumeClaim"))

    def test_the_claim_of_a_scheduled_task_is_recorded_like_that_of_a_store(self) -> None:
        task = scheduled(volumes=(Volume(name="dumps", mount="/dumps", size_gib=5, fixed=(BROKERS,)),))
        recording = record_workloads(task, storage_class="fast")
        assert recording.get("Stash", "backup-data-settings").inputs["input"] == {
            "dumps": {"store.brokers": "1", "kubernetes.storageClass": "fast", "sizeGib": 5}
        }
        assert recording.get("Stash", "backup-claims").inputs["input"].keys() == {"dumps-backup"}
        assert CREATED in recording.get("PersistentVolumeClaim", "dumps-backup").hooks["before_create"]

    def test_a_failed_update_names_the_missing_claim(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """kubectl is a stand-in that lists one PVC with the template's storage class."""
        claim = {"metadata": {"name": "data-store-0"}, "spec": {"storageClassName": MISSING_CLAIM_CLASS}}
        listed = json.dumps({"items": [claim]})
        (tmp_path / "kubectl").write_text(f"#!/bin/sh\necho '{listed}'\n")
        (tmp_path / "kubectl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        errors: list[str] = []
        monkeypatch.setattr(pulumi.log, "error", errors.append)
        recording = record_workloads(store())
        claims = recording.of_type("PersistentVolumeClaim")
        assert {one.hooks["on_error"] for one in claims} == {("kubernetes-explain-claim",)}
        assert call_claim_hook(recording) is False
        assert ["'data-store-0'" in error for error in errors] == [True]

        (tmp_path / "kubectl").unlink()
        monkeypatch.setenv("PATH", str(tmp_path))
        assert call_claim_hook(recording) is False
        assert len(errors) == 1


def call_claim_hook(recording: Recording[Any], name: str = "kubernetes-explain-claim") -> bool:
    hook = recording.hooks[name]
    assert isinstance(hook, pulumi.ErrorHook)
    inputs = {"metadata": {"name": "data-store-0"}}
    answered = hook.callback(ErrorHookArgs("urn", "", "store", "type", new_inputs=inputs))
    assert asyncio.iscoroutine(answered)
    return bool(asyncio.run(answered))


@pytest.mark.parametrize(
    ("configuration", "secrets"),
    [(stack_file("dev"), {}), (stack_file("prod"), PROD_SECRETS)],
    ids=["dev", "prod"],
)
def test_a_single_record_can_be_deleted_from_the_state(
    deploy: Deploy, configuration: Mapping[str, Any], secrets: Mapping[str, str]
) -> None:
    recording = deploy(configuration, secrets)
    records = {str(one) for one in recording.of_type("Stash")}
    assert len(records) >= 4
    assert [str(one) for one in recording.registrations if records & one.dependencies] == []
    assert not any(one.protect or one.retain_on_delete for one in recording.of_type("Stash"))


@pytest.mark.parametrize("hook", [CHANGED, REPLACED, CREATED])
def test_a_preview_refuses_the_same_as_an_update(on_kubernetes: Recording[Any], hook: str) -> None:
    kept = on_kubernetes.hooks[hook]
    assert isinstance(kept, pulumi.ResourceHook)
    assert kept.opts is not None
    assert kept.opts.on_dry_run


class EngineWithVolumes(Engine):
    """An engine with a set of volumes, or one that doesn't respond."""

    volumes: list[str]
    stack: str
    reachable: bool

    def __init__(self, *volumes: str, stack: str = "dev", reachable: bool = True) -> None:
        super().__init__()
        object.__setattr__(self, "volumes", [*volumes])
        object.__setattr__(self, "stack", stack)
        object.__setattr__(self, "reachable", reachable)

    def volume(self, name: str) -> dict[str, Any] | None:
        """Return the recorded details of a volume."""
        if not self.reachable:
            raise EngineError("no engine")
        return {"Name": name, "Labels": {"pti-calendar.stack": self.stack}} if name in self.volumes else None

    def run(self, *arguments: str, timeout_s: int = 60) -> str:
        """Handle only the command that creates volumes."""
        assert arguments[:2] == ("volume", "create")
        self.volumes.append(arguments[-1])
        return arguments[-1]


VOLUME = "pti-data-dev"
CONTAINER_INPUTS = {"mounts": [{"type": "volume", "source": VOLUME}, {"type": "volume", "source": "pti-files-dev"}]}


def recorded_volume(engine: Engine, *, preview: bool = False) -> Recording[Any]:
    """Record a volume and register the record."""

    def program() -> None:
        threads = Threads()
        data, records = (
            DataVolumes(engine, threads, Ownership(engine, threads, "dev", StackIdentity(engine, threads, "dev"))),
            DataRecords(),
        )
        hook = data.before_record("store", {VOLUME: {"pti-calendar.stack": "dev"}})
        data.recorded(records.record_settings("store", {"data": [BROKERS]}, before_create=[hook]), "store")

    return record(program, preview=preview)


class TestVolumes:
    """tests/engine/test_data_records.py covers the order of hooks in a real update."""

    def test_a_volume_is_created_before_the_state_records_it(self) -> None:
        engine = EngineWithVolumes()
        self.make(recorded_volume(engine))
        assert engine.volumes == [VOLUME]

    def test_a_missing_recorded_volume_is_not_created_again(self) -> None:
        recording = recorded_volume(EngineWithVolumes())
        with pytest.raises(WorkloadError, match=f"The volume '{VOLUME}' with this stack's data is missing"):
            call(recording, "docker-refuse-lost-volume", "data", new_inputs={"name": VOLUME})

    def test_no_container_is_created_on_a_missing_volume(self) -> None:
        with pytest.raises(WorkloadError, match=f"The volume '{VOLUME}' with this stack's data is missing"):
            call(
                recorded_volume(EngineWithVolumes()), "docker-refuse-empty-volume", "store", new_inputs=CONTAINER_INPUTS
            )
        call(
            recorded_volume(EngineWithVolumes(VOLUME)),
            "docker-refuse-empty-volume",
            "store",
            new_inputs=CONTAINER_INPUTS,
        )

    def test_an_existing_volume_of_the_stack_is_adopted(self) -> None:
        call(
            recorded_volume(EngineWithVolumes(VOLUME)), "docker-refuse-lost-volume", "data", new_inputs={"name": VOLUME}
        )

    def test_a_volume_of_another_stack_is_neither_recorded_nor_adopted(self) -> None:
        recording = recorded_volume(EngineWithVolumes(VOLUME, stack="another"))
        with pytest.raises(WorkloadError, match=f"a volume named '{VOLUME}' exists and does not belong to stack 'dev'"):
            self.make(recording)
        with pytest.raises(WorkloadError, match="docker volume rm"):
            call(recording, "docker-refuse-foreign-object", "data", "Volume", new_inputs={"name": VOLUME})

    def test_an_update_fails_if_the_engine_does_not_respond(self) -> None:
        recording = recorded_volume(EngineWithVolumes(reachable=False))
        with pytest.raises(EngineError):
            call(recording, "docker-refuse-empty-volume", "store", new_inputs=CONTAINER_INPUTS)

    def make(self, recording: Recording[Any]) -> None:
        """Call the hook for a new record."""
        call(recording, "docker-make-data-volumes", "store", new_inputs={"input": {}})

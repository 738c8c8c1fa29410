"""A volume that a workload shares with its owner: mounts, placement and refusals on both backends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.unit.kubernetes_recording import minimal_workload, pod_template_of, recording_of, scheduled, stateful
from tests.unit.test_docker_backend import record_deployment
from workloads import ScheduledTask, SharedVolume, StatefulService, Volume, Workload, WorkloadError

OWNER = scheduled("backup", volumes=(Volume(name="dumps", mount="/dumps"),))
ARCHIVE = stateful("archive", volumes=(Volume(name="wal", mount="/wal"),))
DUMPS = SharedVolume(owner="backup", name="dumps", mount="/theirs")
WAL = SharedVolume(owner="archive", name="wal", mount="/wal")


def reader(*shared: SharedVolume, **fields: Any) -> ScheduledTask:
    """Return a scheduled task that mounts volumes of others."""
    return minimal_workload(ScheduledTask, "copy", shared_volumes=shared, **fields)


RECORDERS: Mapping[str, Callable[..., Any]] = {"docker": record_deployment, "kubernetes": recording_of}


@pytest.fixture(params=RECORDERS)
def record(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """The recorder of a backend."""
    return RECORDERS[request.param]


class TestRefusals:
    @pytest.mark.parametrize(
        ("workloads", "problem"),
        [
            pytest.param([reader(DUMPS)], "which is not deployed before it; deployed are none", id="no owner"),
            pytest.param([reader(DUMPS), OWNER], "which is not deployed before it", id="later owner"),
            pytest.param([scheduled("backup"), reader(DUMPS)], "which has no volume", id="owner without a volume"),
            pytest.param(
                [scheduled("backup", volumes=(Volume(name="other", mount="/o"),)), reader(DUMPS)],
                "which has other",
                id="another volume",
            ),
            pytest.param(
                [OWNER, reader(DUMPS, user=71)], "as the user 71, but the files belong to 1000", id="another user"
            ),
        ],
    )
    def test_a_volume_that_cannot_be_shared_is_refused(
        self, record: Callable[..., Any], workloads: list[Workload], problem: str
    ) -> None:
        with pytest.raises(WorkloadError, match=problem):
            record(*workloads)

    def test_a_volume_of_several_replicas_is_refused(self) -> None:
        owner = minimal_workload(StatefulService, "archive", replicas=2, volumes=ARCHIVE.volumes)
        with pytest.raises(WorkloadError, match="which has 2 replicas with a volume each"):
            recording_of(owner, reader(WAL))

    def test_a_volume_of_ones_own_is_refused(self) -> None:
        with pytest.raises(WorkloadError, match="depends on itself"):
            reader(SharedVolume(owner="copy", name="dumps", mount="/dumps"))

    def test_two_volumes_with_one_name_are_refused(self) -> None:
        with pytest.raises(WorkloadError, match="each volume requires a unique name"):
            reader(DUMPS, volumes=(Volume(name="dumps", mount="/mine"),))


class TestDocker:
    @pytest.mark.parametrize(("writable", "read_only"), [(False, True), (True, None)])
    def test_the_owners_volume_is_mounted(self, *, writable: bool, read_only: bool | None) -> None:
        recording = record_deployment(
            OWNER, reader(SharedVolume(owner="backup", name="dumps", mount="/theirs", writable=writable))
        )
        mounts = recording.get("Container", "copy").inputs["mounts"]
        (found,) = [one for one in mounts if one["target"] == "/theirs"]
        assert (found["source"], found.get("readOnly")) == ("pti-dumps-dev", read_only)

    def test_the_owners_container_is_created_first(self) -> None:
        recording = record_deployment(OWNER, reader(DUMPS))
        assert "docker:index/container:Container backup" in recording.get("Container", "copy").dependencies

    def test_a_missing_volume_is_not_replaced_by_an_empty_one(self) -> None:
        recording = record_deployment(OWNER, reader(DUMPS))
        own, shared = (recording.get("Container", name).hooks for name in ("backup", "copy"))
        assert shared == own

    def test_the_volume_keeps_its_owners_label(self) -> None:
        recording = record_deployment(OWNER, reader(DUMPS))
        assert len([one for one in recording.of_type("Volume") if one.inputs["name"] == "pti-dumps-dev"]) == 1


class TestKubernetes:
    @pytest.mark.parametrize(("writable", "mount"), [(False, {"readOnly": True}), (True, {})])
    @pytest.mark.parametrize(
        ("owner", "shared", "claim"), [(OWNER, DUMPS, "dumps-backup"), (ARCHIVE, WAL, "wal-archive-0")]
    )
    def test_the_owners_claim_is_mounted(
        self, owner: Workload, shared: SharedVolume, claim: str, *, writable: bool, mount: dict[str, bool]
    ) -> None:
        shared = SharedVolume(owner=shared.owner, name=shared.name, mount=shared.mount, writable=writable)
        spec = pod_template_of(recording_of(owner, reader(shared)), "copy")["spec"]
        assert {"name": shared.name, "persistentVolumeClaim": {"claimName": claim}} in spec["volumes"]
        (container,) = spec["containers"]
        assert {"name": shared.name, "mountPath": shared.mount, **mount} in container["volumeMounts"]

    def test_the_claim_exists_first(self) -> None:
        recording = recording_of(OWNER, reader(DUMPS))
        claim = "kubernetes:core/v1:PersistentVolumeClaim dumps-backup"
        assert claim in recording.get("CronJob", "copy").dependencies
        assert len(recording.of_type("PersistentVolumeClaim")) == 1

    @pytest.mark.parametrize(
        ("shared", "names"),
        [
            pytest.param([DUMPS], ["backup", "copy"], id="an owner that runs at times"),
            pytest.param([WAL], ["archive", "copy"], id="an owner that always runs"),
            pytest.param([DUMPS, WAL], ["archive", "copy"], id="both"),
        ],
    )
    def test_the_pod_runs_on_the_node_of_a_running_owner(self, shared: list[SharedVolume], names: list[str]) -> None:
        """The term selects the pod itself, too: the scheduler then accepts any node if no owner runs."""
        spec = pod_template_of(recording_of(OWNER, ARCHIVE, reader(*shared)), "copy")["spec"]
        [(rule, [term])] = spec["affinity"]["podAffinity"].items()
        assert rule == "requiredDuringSchedulingIgnoredDuringExecution"
        assert term["topologyKey"] == "kubernetes.io/hostname"
        [expression] = term["labelSelector"]["matchExpressions"]
        assert expression == {"key": "app.kubernetes.io/name", "operator": "In", "values": names}
        own = pod_template_of(recording_of(OWNER, ARCHIVE, reader(*shared)), "copy")["metadata"]["labels"]
        assert own["app.kubernetes.io/name"] in names
        assert term["labelSelector"]["matchLabels"].items() <= own.items()

    def test_a_workload_without_shared_volumes_may_run_anywhere(self) -> None:
        assert "affinity" not in pod_template_of(recording_of(OWNER), "backup")["spec"]

    def test_the_owner_is_unchanged(self) -> None:
        alone, shared = recording_of(OWNER), recording_of(OWNER, reader(DUMPS))
        assert pod_template_of(alone, "backup") == pod_template_of(shared, "backup")

"""The node's volumes without a node: a stand-in replaces the API server; the file systems are real."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from testbed import ext4
from testbed.cluster import volumes
from testbed.cluster.access import Cluster


class ApiServer:
    """Stores persistent volumes and returns them, each with the phase that a test has set."""

    def __init__(self) -> None:
        self.volumes: dict[str, dict[str, Any]] = {}
        self.phases: dict[str, str] = {}

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Stand in for `apply`, `delete` and `get` of persistent volumes."""
        if arguments[0] == "apply":
            given = json.loads(input or "")["items"]
            self.volumes |= {one["metadata"]["name"]: one for one in given if one["kind"] == "PersistentVolume"}
        elif arguments[0] == "delete":
            for name in arguments[2:-1]:
                del self.volumes[name]
                self.phases.pop(name, None)
        elif arguments[1] == "persistentvolumeclaims":
            claim = {"metadata": {"name": "data"}, "spec": {"volumeName": next(iter(self.volumes))}}
            return json.dumps({"items": [claim]})
        phases = {name: self.phases.get(name, "Available") for name in self.volumes}
        listed = [{**one, "status": {"phase": phases[name]}} for name, one in self.volumes.items()]
        return json.dumps({"items": listed})


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """An API server with two volumes; nothing stays mounted at the end."""
    if reason := ext4.why_unavailable():
        pytest.skip(reason)
    monkeypatch.setattr(volumes, "VOLUMES", tmp_path / "volumes")
    monkeypatch.setattr(volumes, "VOLUME_IMAGES", tmp_path / "images")
    monkeypatch.setattr(volumes, "COUNT", 2)
    yield ApiServer()
    for mounted in (tmp_path / "volumes").iterdir():
        if mounted.is_mount():
            ext4.unmount(mounted)


def folder(server: ApiServer, volume: str) -> Path:
    """Return the directory with a volume's files."""
    return Path(server.volumes[volume]["spec"]["local"]["path"])


def folders(server: ApiServer) -> list[Path]:
    """Return the directories with the volumes' files."""
    return [folder(server, name) for name in server.volumes]


def cluster(server: ApiServer) -> Cluster:
    return cast(Cluster, server)


def test_each_volume_is_a_separate_file_system(server: ApiServer) -> None:
    volumes.ensure(cluster(server))
    assert len({place.stat().st_dev for place in folders(server)}) == 2
    for place in folders(server):
        assert [one.name for one in place.iterdir()] == ["lost+found"]
        assert (place.stat().st_uid, place.stat().st_mode & 0o7777) == (0, 0o755)
    assert volumes.used_ratios(cluster(server), "any")["data"] == pytest.approx(0, abs=0.01)


def test_files_survive_a_stop_of_the_node(server: ApiServer) -> None:
    volumes.ensure(cluster(server))
    volumes.add_small_volume(cluster(server), "namespace", "claim")
    assert len(folders(server)) == 3
    for place in folders(server):
        (place / "kept").touch()
        ext4.unmount(place)

    volumes.ensure(cluster(server))

    assert all((place / "kept").exists() for place in folders(server))


def test_a_released_volume_is_offered_again_without_its_files(server: ApiServer) -> None:
    volumes.ensure(cluster(server))
    released, bound = server.volumes
    for place in folders(server):
        (place / "kept").touch()
    server.phases = {released: "Released", bound: "Bound"}

    assert volumes.recycle_volumes(cluster(server)) == 1

    assert [(folder(server, name) / "kept").exists() for name in (released, bound)] == [False, True]


def test_the_small_volume_is_deleted_with_its_claim(server: ApiServer) -> None:
    volumes.ensure(cluster(server))
    volumes.add_small_volume(cluster(server), "namespace", "claim")
    kept = server.volumes[volumes.SMALL]["spec"]["claimRef"]
    assert kept == {"namespace": "namespace", "name": "claim"}
    place = folder(server, volumes.SMALL)
    assert place.is_mount()
    server.phases = {volumes.SMALL: "Released"}

    assert volumes.recycle_volumes(cluster(server)) == 1

    assert volumes.SMALL not in server.volumes
    assert not place.is_mount()

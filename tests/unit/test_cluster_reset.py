"""What a reset of the test node deletes."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.cluster import containers, node


def test_a_reset_deletes_objects_and_volumes_and_keeps_loaded_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "ROOT", tmp_path)
    monkeypatch.setattr(node, "stop_node", lambda: None)
    monkeypatch.setattr(containers, "IMAGES", tmp_path / "containerd")
    for file in ("etcd/member/db", "volume-images/pv-0", "conf/admin.kubeconfig", "containerd/blobs/layer"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    (tmp_path / "containerd.sock.ttrpc").touch()
    node.reset_node()
    assert [path.name for path in tmp_path.iterdir()] == ["containerd"]
    assert (tmp_path / "containerd/blobs/layer").exists()

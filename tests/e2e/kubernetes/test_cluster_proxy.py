"""A real API server that is only reached through a proxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from operations.proxies import local_without_proxy
from testbed.cluster import Cluster
from testbed.cluster.volumes import STORAGE_CLASS
from tests.e2e.kubernetes import relaying_proxy
from tests.e2e.kubernetes.test_ownership import OwnStack


@pytest.mark.parametrize("named_by", ["proxy-url", "HTTPS_PROXY"])
def test_a_cluster_behind_a_proxy_is_checked_previewed_and_updated(
    api_server: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    namespace = f"proxy-{named_by}-{tmp_path.parent.name}".replace("_", "-").lower()
    with relaying_proxy.relaying_proxy(api_server) as proxy:
        if named_by == "HTTPS_PROXY":
            for name, value in {"HTTPS_PROXY": proxy.address, **local_without_proxy({})}.items():
                monkeypatch.setenv(name, value)
        proxy_url = proxy.address if named_by == "proxy-url" else None
        behind_proxy = relaying_proxy.behind_proxy(api_server, tmp_path / "kubeconfig", proxy_url)
        stack = OwnStack(tmp_path / "stack", behind_proxy, namespace)
        try:
            preview = stack.preview().succeeded()
            connections_of_preview = len(proxy.targets)
            stack.up().succeeded()
            objects = stack.objects()
        finally:
            stack.remove()
    assert "can't be reached" not in preview.output
    # kubectl has found the class.
    assert f"The storage class '{STORAGE_CLASS}' of the new claims data-store-0" in preview.output
    assert "create StatefulSet store" in preview.changes
    assert "StatefulSet store" in objects
    assert 0 < connections_of_preview < len(proxy.targets)
    assert {*proxy.targets} == {relaying_proxy.TARGET}

"""What an upgrade from the last release writes to the API server, and what its preview shows.

The API server is real but has no controllers: objects stay as written, and no pod starts.
"""

from __future__ import annotations

import json
from pathlib import Path

from operations.project import ROOT
from testbed import cluster
from tests import baseline
from tests.e2e.kubernetes.configuration import SMALL_CONFIGURATION
from tests.e2e.kubernetes.stack import ClusterStack
from tests.e2e.upgrade import use_former_keys, use_present_keys

UNAWAITED = Path(__file__).parent / "programs" / "unawaited"
KINDS = "deployments,statefulsets,networkpolicies,serviceaccounts,services,persistentvolumeclaims,poddisruptionbudgets"
NAMED_BY_CONTENT = {"ConfigMap", "Secret", "Job"}
"""Kinds for which changed content means another object with another name."""


def test_an_upgrade_keeps_every_object(api_server: cluster.Cluster, tmp_path: Path) -> None:
    stack = ClusterStack(tmp_path, api_server)
    namespace = f"upgrade-{stack.name}"

    def objects() -> dict[str, str]:
        listed = json.loads(api_server.kubectl("--namespace", namespace, "get", KINDS, "--output=json"))["items"]
        return {f"{one['kind']} {one['metadata']['name']}": one["metadata"]["uid"] for one in listed}

    stack.change({**SMALL_CONFIGURATION, "kubernetes": {"namespace": namespace, "minVersion": "1.28"}})
    stack.runs(UNAWAITED)
    stack.configure({"tests:program": str(baseline.clone(tmp_path / "release"))})
    use_former_keys(stack)
    try:
        stack.up().succeeded()
        before = objects()

        stack.configure({"tests:program": str(ROOT)})
        use_present_keys(stack)
        preview, update = stack.preview().succeeded(), stack.up().succeeded()

        assert preview.changes == update.changes
        assert update.deleted == []
        assert update.replaced_types <= NAMED_BY_CONTENT
        assert any(one.startswith("PersistentVolumeClaim") for one in before)
        assert before.items() <= objects().items()
    finally:
        stack.end_orphans()
        everything = f"{KINDS},configmaps,secrets,jobs"
        api_server.kubectl("--namespace", namespace, "delete", everything, "--all", "--wait=false")

"""Access to the kubelets' metrics: one workload on Kubernetes has it, none on Docker."""

from __future__ import annotations

import pytest

from tests.unit.kubernetes_recording import find_manifest, pod_template_of, port, record_workloads, workload
from tests.unit.network_matrix import Matrix
from workloads import Endpoint

READER = workload("watcher", ports=(port(9090),), reads_node_metrics=True)
OTHER = workload("web", ports=(port(8080),), connects_to=(Endpoint("watcher", 9090),))
RECORDING = record_workloads(READER, OTHER, namespace="pti")
NODE = "10.1.2.3"


def test_the_account_may_only_list_nodes_and_get_their_metrics() -> None:
    rules = find_manifest(RECORDING, "ClusterRole", "pti-watcher-kubelets")["rules"]
    allowed = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert allowed == {("nodes", "list"), ("nodes", "watch"), ("nodes/metrics", "get")}
    assert [rule["apiGroups"] for rule in rules] == [[""], [""]]


def test_no_other_account_has_the_permission() -> None:
    binding = find_manifest(RECORDING, "ClusterRoleBinding", "pti-watcher-kubelets")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "watcher", "namespace": "pti"}]
    assert binding["roleRef"]["name"] == "pti-watcher-kubelets"
    assert len(RECORDING.of_type("ClusterRoleBinding")) == 1


def test_cluster_scoped_objects_have_no_namespace() -> None:
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        assert "namespace" not in find_manifest(RECORDING, kind, "pti-watcher-kubelets")["metadata"]


def test_only_pods_of_the_reader_get_a_token() -> None:
    assert pod_template_of(RECORDING, "watcher")["spec"]["automountServiceAccountToken"] is True
    assert pod_template_of(RECORDING, "web")["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("number", [443, 6443, 10250])
def test_only_the_reader_reaches_the_api_server_and_the_kubelets(number: int) -> None:
    matrix = Matrix(RECORDING)
    assert matrix.may_open("watcher", NODE, number)
    assert not matrix.may_open("web", NODE, number)


def test_the_reader_reaches_no_other_port_of_a_node() -> None:
    assert not Matrix(RECORDING).may_open("watcher", NODE, 22)

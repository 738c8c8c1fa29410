"""Access to the namespace's objects: one workload on Kubernetes has it, none on Docker."""

from __future__ import annotations

import re

import pytest

from components.monitoring.exporters import KUBE_STATE_SERIES
from tests.artifacts.rule_files import RULES, rules_of
from tests.unit.conftest import PROD_SECRETS, Deploy, stack_file
from tests.unit.kubernetes_recording import find_manifest, pod_template_of, port, record_workloads, workload
from tests.unit.network_matrix import Matrix
from workloads import Endpoint

READER = workload("reader", ports=(port(8080),), reads_deployed_objects=True)
OTHER = workload("web", ports=(port(8080),), connects_to=(Endpoint("reader", 8080),))
RECORDING = record_workloads(READER, OTHER, namespace="pti")
NODE = "10.1.2.3"


def granted_permissions() -> set[tuple[str, str, str]]:
    """Return each (API group, resource, verb) that the Role grants."""
    return {
        (group, resource, verb)
        for rule in find_manifest(RECORDING, "Role", "reader-reader")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_account_may_list_and_watch_workloads_and_no_secrets() -> None:
    resources = {
        ("", "persistentvolumeclaims"),
        ("", "pods"),
        ("apps", "deployments"),
        ("apps", "statefulsets"),
        ("autoscaling", "horizontalpodautoscalers"),
        ("batch", "jobs"),
    }
    assert granted_permissions() == {(*one, verb) for one in resources for verb in ("list", "watch")}


def test_the_permission_is_limited_to_the_namespace() -> None:
    assert RECORDING.of_type("ClusterRole") == RECORDING.of_type("ClusterRoleBinding") == []
    for kind in ("Role", "RoleBinding"):
        assert find_manifest(RECORDING, kind, "reader-reader")["metadata"]["namespace"] == "pti"


def test_no_other_account_has_the_permission() -> None:
    binding = find_manifest(RECORDING, "RoleBinding", "reader-reader")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "reader"}]
    assert binding["roleRef"]["name"] == "reader-reader"
    assert len(RECORDING.of_type("RoleBinding")) == 1


def test_only_pods_of_the_reader_get_a_token() -> None:
    assert pod_template_of(RECORDING, "reader")["spec"]["automountServiceAccountToken"] is True
    assert pod_template_of(RECORDING, "web")["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("number", [443, 6443])
def test_only_the_reader_reaches_the_api_server(number: int) -> None:
    matrix = Matrix(RECORDING)
    assert matrix.may_open("reader", NODE, number)
    assert not matrix.may_open("web", NODE, number)


@pytest.mark.parametrize("number", [22, 10250])
def test_the_reader_reaches_no_other_port_of_a_node(number: int) -> None:
    assert not Matrix(RECORDING).may_open("reader", NODE, number)


def test_kube_state_metrics_only_lists_what_its_role_allows(deploy: Deploy) -> None:
    prod = deploy(stack_file("prod"), PROD_SECRETS, stack="prod")
    (container,) = prod.get("Deployment", "kube-state-metrics").inputs["spec"]["template"]["spec"]["containers"]
    assert "--namespaces=pti-calendar" in container["args"]
    (resources,) = [one.partition("=")[2].split(",") for one in container["args"] if one.startswith("--resources=")]
    assert {*resources} == {resource for _, resource, _ in granted_permissions()} == KUBE_STATE_SERIES.keys()


def test_kube_state_metrics_exports_what_the_rules_read_and_nothing_else() -> None:
    read = {
        name for rule in rules_of(RULES / "kubernetes.yml") for name in re.findall(r"\bkube_[a-z_]+\b", rule["expr"])
    }
    assert read == {name for names in KUBE_STATE_SERIES.values() for name in names}

"""The check that the cluster is reachable, and the Kubernetes backend's namespace and provider."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from backends.base import DeployOptions
from backends.kubernetes.backend import KubernetesBackend
from backends.kubernetes.client import ClusterUnreachable
from recording.recorder import Recording
from tests.unit.kubernetes_recording import (
    by_type_and_name,
    find_manifest,
    record_program,
    record_workloads,
    workload,
)

REFUSING_URL = "https://127.0.0.1:1"
PREVIEW_WARNING = "This preview shows what the program declares. It is not compared with the cluster."


@pytest.fixture
def server() -> Iterator[str]:
    """An address that responds, but not with TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_answer, args=[listening, b"HTTP/1.0 400 Bad Request\r\n\r\n"], daemon=True).start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """An address that accepts connections and never responds, like a load balancer in front of a dead API server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def closing_server() -> Iterator[str]:
    """An address that accepts connections and closes them, as some load balancers do."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_answer, args=[listening, b""], daemon=True).start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"


def _answer(listening: socket.socket, words: bytes) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:  # The test has ended.
            return
        with connection:
            connection.recv(4096)
            connection.sendall(words)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """A kubeconfig with contexts a and b, whose servers refuse connections."""
    return write_kubeconfig(tmp_path / "kubeconfig", REFUSING_URL)


@pytest.fixture(autouse=True)
def kubectl_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl that gets no response."""
    command = tmp_path / "bin" / "kubectl"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    return command


def write_kubeconfig(path: Path, server: str, **cluster: str) -> Path:
    """Write a kubeconfig whose contexts use the given server."""
    path.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "one", "cluster": {"server": server, **cluster}}],
                "contexts": [{"name": name, "context": {"cluster": "one", "user": "me"}} for name in ("a", "b")],
            }
        )
    )
    return path


def record_check(*, preview: bool, **settings: Any) -> Recording[KubernetesBackend]:
    """Deploy a workload after the check."""

    def program(backend: KubernetesBackend, parent: pulumi.Resource) -> None:
        backend.deploy(workload(), DeployOptions(parent=parent))
        backend.preflight([])

    return record_program(program, preview=preview, **settings)


def refusal(**settings: Any) -> str:
    """Return the error message of an update."""
    with pytest.raises(ClusterUnreachable) as refused:
        record_check(preview=False, **settings)
    text, _, last = str(refused.value).rpartition("\n")
    assert last == "Nothing has been changed."
    return text


def provider(recording: Recording[Any]) -> dict[str, Any]:
    """Return the provider's inputs; objects are passed to it as JSON."""
    (one,) = [one for one in recording.registrations if one.type == "pulumi:providers:kubernetes"]
    return dict(one.inputs)


class TestUpdate:
    def test_a_reachable_cluster_passes(self, tmp_path: Path, server: str) -> None:
        path = write_kubeconfig(tmp_path / "kubeconfig", server)
        recording = record_check(preview=False, kubeconfig=str(path), context="b")
        assert recording.log == []
        assert provider(recording)["kubeconfig"] == str(path)

    def test_an_update_requires_kubectl(
        self, tmp_path: Path, server: str, kubectl_command: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kubectl_command.unlink()
        monkeypatch.setenv("PATH", str(kubectl_command.parent))
        path = write_kubeconfig(tmp_path / "kubeconfig", server)
        with pytest.raises(ClusterUnreachable, match="The 'kubectl' command is missing"):
            record_check(preview=False, kubeconfig=str(path), context="b")
        (warning,) = record_check(preview=True, kubeconfig=str(path), context="b").log
        assert "An update needs it" in warning

    def test_an_unreachable_cluster_is_reported(self, kubeconfig: Path) -> None:
        text = refusal(kubeconfig=str(kubeconfig), context="a")
        assert f"The Kubernetes cluster at {REFUSING_URL} can't be reached (" in text
        assert f"Connection refused; kubeconfig {kubeconfig}, context a)" in text
        assert text.endswith(f"kubectl --kubeconfig {kubeconfig} --context a get --raw /readyz")

    def test_a_server_that_accepts_and_never_responds_counts_as_unreachable(
        self, tmp_path: Path, silent_server: str
    ) -> None:
        path = write_kubeconfig(tmp_path / "kubeconfig", silent_server)
        text = refusal(kubeconfig=str(path), context="a", connect_timeout_s=1)
        assert f"The Kubernetes cluster at {silent_server} can't be reached (no response within 1 s; " in text

    def test_a_server_that_closes_the_connection_counts_as_unreachable(
        self, tmp_path: Path, closing_server: str
    ) -> None:
        text = refusal(kubeconfig=str(write_kubeconfig(tmp_path / "kubeconfig", closing_server)), context="a")
        assert f"The Kubernetes cluster at {closing_server} can't be reached (it closes the connection; " in text

    def test_a_silent_proxy_is_reported(self, tmp_path: Path, silent_server: str) -> None:
        path = write_kubeconfig(
            tmp_path / "kubeconfig", REFUSING_URL, **{"proxy-url": silent_server.replace("https:", "http:")}
        )
        found = refusal(kubeconfig=str(path), context="a", connect_timeout_s=1)
        assert f"(through the proxy {silent_server.removeprefix('https://')}: no response within 1 s;" in found

    def test_a_cluster_behind_a_proxy_is_checked_at_the_proxy(self, tmp_path: Path, server: str) -> None:
        path = write_kubeconfig(tmp_path / "kubeconfig", REFUSING_URL, **{"proxy-url": server})
        assert record_check(preview=False, kubeconfig=str(path), context="a").log == []

    def test_a_missing_kubeconfig_is_reported_with_its_key(self) -> None:
        assert refusal(kubeconfig="/no/such/file", context="a") == (
            "pti-calendar:kubernetes.kubeconfig: there is no file /no/such/file. Set it with: "
            "pulumi config set --path 'pti-calendar:kubernetes.kubeconfig' ~/.kube/config"
        )

    def test_the_error_for_an_unknown_context_lists_the_existing_ones(self, kubeconfig: Path) -> None:
        assert refusal(kubeconfig=str(kubeconfig), context="c") == (
            f"pti-calendar:kubernetes.context 'c' is not in {kubeconfig}. Contexts of {kubeconfig}: a, b. "
            "Set it with: pulumi config set --path 'pti-calendar:kubernetes.context' a"
        )

    @pytest.mark.parametrize("content", ["", "- a list", "contexts: 3", "contexts: [{name: a}]"])
    def test_a_kubeconfig_of_another_format_has_no_contexts(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "kubeconfig"
        path.write_text(content)
        assert f"Contexts of {path}: none." in refusal(kubeconfig=str(path), context="a")

    def test_a_kubeconfig_that_is_not_yaml_is_reported(self, tmp_path: Path) -> None:
        path = tmp_path / "kubeconfig"
        path.write_text("{")
        assert f"pti-calendar:kubernetes.kubeconfig: {path} can't be read: " in refusal(
            kubeconfig=str(path), context="a"
        )

    def test_a_context_without_a_server_is_reported(self, tmp_path: Path) -> None:
        path = write_kubeconfig(tmp_path / "kubeconfig", "")
        assert refusal(kubeconfig=str(path), context="a") == (
            f"pti-calendar:kubernetes.kubeconfig: context 'a' of {path} has no cluster with a server. Add one to the "
            "file, or choose another context: pulumi config set --path 'pti-calendar:kubernetes.context' NAME"
        )


class TestPreview:
    @pytest.mark.parametrize(
        "settings",
        [
            {"kubeconfig": "/no/such/file", "context": "a"},
            {"kubeconfig": "KUBECONFIG", "context": "c"},
            {"kubeconfig": "KUBECONFIG", "context": "a"},
        ],
        ids=["no file", "no context", "no response"],
    )
    def test_a_preview_continues_without_the_cluster_and_warns(
        self, kubeconfig: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KUBECONFIG", "/somebody/elses")
        if settings["kubeconfig"] == "KUBECONFIG":
            settings = {**settings, "kubeconfig": str(kubeconfig)}
        recording = record_check(preview=True, **settings)
        (warning,) = recording.log
        assert warning.startswith("WARNING ")
        assert warning.endswith(PREVIEW_WARNING)
        assert recording.of_type("Deployment") != []
        # The inputs equal those on a machine that reaches the cluster, because a saved plan requires that.
        assert provider(recording)["kubeconfig"] == settings["kubeconfig"]

    def test_an_unreachable_cluster_does_not_change_the_declared_resources(self, tmp_path: Path, server: str) -> None:
        path = write_kubeconfig(tmp_path / "kubeconfig", server)
        reached = record_check(preview=True, kubeconfig=str(path), context="a")
        path.unlink()
        unreached = record_check(preview=True, kubeconfig=str(path), context="a")
        assert by_type_and_name(unreached) == by_type_and_name(reached)

    def test_a_preview_with_the_cluster_compares_live_objects(self, tmp_path: Path, server: str) -> None:
        path = write_kubeconfig(tmp_path / "kubeconfig", server)
        recording = record_check(preview=True, kubeconfig=str(path), context="a")
        assert recording.log == []
        assert provider(recording)["kubeconfig"] == str(path)


class TestProvider:
    def test_the_environment_is_not_part_of_the_inputs_of_the_provider(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = provider(record_workloads(workload()))
        for name in ("DELETE_UNREACHABLE", "SKIP_UPDATE_UNREACHABLE", "ENABLE_CONFIGMAP_MUTABLE"):
            monkeypatch.setenv(f"PULUMI_K8S_{name}", "true")
        assert provider(record_workloads(workload())) == before

    def test_another_address_or_certificate_of_the_cluster_replaces_nothing(self) -> None:
        one, other = (provider(record_workloads(workload(), kubeconfig=path)) for path in ("~/.kube/config", "/other"))
        assert one["clusterIdentifier"] == other["clusterIdentifier"] == "pti-calendar/test"
        assert provider(record_workloads(workload(), context="next"))["clusterIdentifier"] == "pti-calendar/next"

    def test_the_kubeconfig_path_is_the_configured_one(self) -> None:
        assert provider(record_workloads(workload()))["kubeconfig"] == "~/.kube/config"

    def test_the_provider_may_query_often_and_adopts_existing_objects(self) -> None:
        inputs = provider(record_workloads(workload()))
        assert json.loads(inputs["kubeClientSettings"]) == {"qps": 50, "burst": 100}
        assert (inputs["upsertExistingObjects"], inputs["enablePatchForce"]) == ("true", "true")

    def test_nothing_is_registered_before_the_first_workload(self) -> None:
        assert [str(one) for one in record_workloads().registrations] == ["test:index:Parent parent"]

    def test_there_is_one_namespace_for_all_workloads(self) -> None:
        recording = record_workloads(workload("a"), workload("b"))
        assert len([one for one in recording.registrations if one.type == "pulumi:providers:kubernetes"]) == 1
        assert len(recording.of_type("Namespace")) == 1


class TestNamespace:
    SECURITY = (
        ("enforce", "restricted"),
        ("enforce-version", "v1.28"),
        ("warn", "restricted"),
        ("warn-version", "latest"),
        ("audit", "restricted"),
        ("audit-version", "latest"),
    )

    @pytest.mark.parametrize(("key", "value"), SECURITY)
    def test_the_namespace_refuses_pods_that_are_not_restricted(self, key: str, value: str) -> None:
        labels = find_manifest(record_workloads(workload()), "Namespace", "namespace")["metadata"]["labels"]
        assert labels[f"pod-security.kubernetes.io/{key}"] == value

    @pytest.mark.parametrize("protect", [True, False])
    def test_the_namespace_outlives_the_stack(self, protect: bool) -> None:
        namespace = record_workloads(workload(), protect=protect).get("Namespace", "namespace")
        assert namespace.retain_on_delete
        assert namespace.protect is protect
        assert namespace.inputs["metadata"]["name"] == "pti-calendar"

    def test_undeclared_connections_are_denied_in_the_namespace(self) -> None:
        deny = find_manifest(record_workloads(workload()), "NetworkPolicy", "default-deny")
        assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}

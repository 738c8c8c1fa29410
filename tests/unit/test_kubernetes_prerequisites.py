"""What a preview reports about a cluster without a prerequisite; kubectl is a stand-in that describes the cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pytest

from backends.base import DeployOptions
from backends.kubernetes import backend, kubectl
from backends.kubernetes.backend import KubernetesBackend
from recording.recorder import Recording
from settings.backend import KubernetesSettings
from tests.unit.kubernetes_recording import container_of, port, record_program, workload
from tests.unit.test_kubernetes_controllers import SCALE, store
from workloads import CertificateRequest, Workload, WorkloadError

DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}
CERTIFICATE = CertificateRequest(name="tls", hosts=("a.example",), issuer="any", has_shared_issuer=True)

Cluster = Callable[..., None]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Define the cluster's responses; anything left out gets no response."""

    def described(
        *,
        apis: tuple[str, ...] | None = None,
        version: tuple[str, str] | None = None,
        storage: tuple[Mapping[str, Any], ...] | None = None,
    ) -> None:
        answers: dict[str, Any] = {}
        if apis is not None:
            answers["/apis"] = {"groups": [{"versions": [{"groupVersion": one}]} for one in apis]}
        if version is not None:
            answers["/version"] = {"major": version[0], "minor": version[1]}
        if storage is not None:
            answers["storageclasses,persistentvolumeclaims"] = {"items": list(storage)}

        def read(settings: KubernetesSettings, *arguments: str) -> str:
            for asked, answer in answers.items():
                if asked in arguments:
                    return json.dumps(answer)
            raise kubectl.KubectlError("no response")

        monkeypatch.setattr(backend, "unreachable_reason", lambda settings: None)
        monkeypatch.setattr(kubectl, "available", lambda: True)
        monkeypatch.setattr(kubectl, "read", read)

    return described


def previewed(*workloads: Workload, certificate: bool = False, **settings: Any) -> Recording[KubernetesBackend]:
    """Run a preview after the backend's check."""

    def program(made: KubernetesBackend, parent: pulumi.Resource) -> None:
        for one in workloads:
            made.deploy(one, DeployOptions(parent=parent))
        if certificate:
            made.request_certificate(CERTIFICATE, DeployOptions(parent=parent))
        made.preflight([])

    return record_program(program, preview=True, **settings)


def storage_class(annotations: Mapping[str, str]) -> dict[str, Any]:
    return {"kind": "StorageClass", "metadata": {"name": "fast", "annotations": annotations}}


class TestApis:
    def test_a_missing_crd_is_reported_with_the_software_to_install(self, cluster: Cluster) -> None:
        cluster(apis=("apps/v1",))
        with pytest.raises(
            WorkloadError, match=r"cert-manager\.io/v1.*the CRD is missing.*Install or upgrade cert-man"
        ):
            previewed(certificate=True)

    def test_another_api_version_is_reported(self, cluster: Cluster) -> None:
        cluster(apis=("cert-manager.io/v1alpha2",))
        with pytest.raises(WorkloadError, match=r"it serves cert-manager\.io/v1alpha2"):
            previewed(certificate=True)

    @pytest.mark.parametrize("apis", [("cert-manager.io/v1",), None], ids=["served", "not known"])
    def test_a_served_or_unknown_api_passes(self, cluster: Cluster, apis: tuple[str, ...] | None) -> None:
        cluster(apis=apis)
        assert len(previewed(certificate=True).of_type("Certificate")) == 1

    @pytest.mark.parametrize(("apis", "said"), [(("apps/v1",), 1), (("metrics.k8s.io/v1beta1",), 0), (None, 0)])
    def test_autoscaling_without_metrics_causes_a_warning(
        self, cluster: Cluster, apis: tuple[str, ...] | None, said: int
    ) -> None:
        cluster(apis=apis)
        log = previewed(workload(autoscaling=SCALE)).log
        assert len([one for one in log if "metrics.k8s.io" in str(one)]) == said


class TestStorage:
    def test_a_claim_without_any_storage_class_is_refused_before_anything_is_recorded(self, cluster: Cluster) -> None:
        cluster(storage=(storage_class({}),))
        with pytest.raises(WorkloadError, match=r"no default storage class.*data-store-0") as refused:
            previewed(store())
        assert "pti-calendar:kubernetes.storageClass" in str(refused.value)

    def test_an_existing_claim_needs_no_default_class(self, cluster: Cluster) -> None:
        cluster(storage=({"kind": "PersistentVolumeClaim", "metadata": {"name": "data-store-0"}},))
        assert len(previewed(store()).of_type("PersistentVolumeClaim")) == 1

    def test_a_default_storage_class_is_enough_for_all_claims(self, cluster: Cluster) -> None:
        cluster(storage=(storage_class(DEFAULT),))
        assert len(previewed(store()).of_type("PersistentVolumeClaim")) == 1

    def test_a_configured_storage_class_is_not_checked(self, cluster: Cluster) -> None:
        cluster(storage=())
        assert len(previewed(store(), storage_class="fast").of_type("PersistentVolumeClaim")) == 1


class TestVersion:
    @pytest.mark.parametrize(
        ("min_version", "native"), [("1.28", False), ("1.32", False), ("1.33", True), ("1.40", True)]
    )
    def test_the_native_sleep_action_needs_no_command_in_the_image(self, min_version: str, native: bool) -> None:
        """A kubelet may be three minor versions older than its API server, and supports the action from 1.30 on."""
        recording = record_program(
            lambda made, parent: made.deploy(workload(ports=(port(),)), DeployOptions(parent=parent)),
            min_version=min_version,
        )
        before_stop = container_of(recording)["lifecycle"]["preStop"]
        assert before_stop == ({"sleep": {"seconds": 5}} if native else {"exec": {"command": ["sleep", "5"]}})

    def test_an_older_cluster_is_refused_with_the_fix(self, cluster: Cluster) -> None:
        cluster(version=("1", "32+"))
        with pytest.raises(WorkloadError, match=r"kubernetes\.minVersion: '1\.33', but .* is 1\.32\.") as refused:
            previewed(workload(), min_version="1.33")
        assert "pulumi config set --path 'pti-calendar:kubernetes.minVersion' 1.32" in str(refused.value)

    @pytest.mark.parametrize("version", [("1", "33"), ("1", "34+"), ("2", "0"), None])
    def test_a_cluster_of_that_version_or_an_unknown_one_passes(
        self, cluster: Cluster, version: tuple[str, str] | None
    ) -> None:
        cluster(version=version)
        assert len(previewed(workload(), min_version="1.33").of_type("Deployment")) == 1

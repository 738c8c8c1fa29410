"""What a preview reports about a cluster without a prerequisite; kubectl is a stand-in that describes the cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pytest

from backends.base import DeployOptions
from backends.kubernetes import backend, kubectl
from backends.kubernetes.backend import KubernetesBackend
from backends.kubernetes.claims import MISSING_CLAIM_CLASS
from recording.recorder import Recording
from settings.backend import KubernetesSettings
from tests.unit.kubernetes_recording import container_spec, port, record_program, scheduled, workload
from tests.unit.test_kubernetes_controllers import SCALE, store
from tests.unit.test_kubernetes_edge import record_postgres_cluster
from workloads import CertificateRequest, StatefulService, Volume, Workload, WorkloadError

DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}
CERTIFICATE = CertificateRequest(name="tls", hosts=("a.example",), issuer="any", has_shared_issuer=True)

Cluster = Callable[..., None]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Define the cluster's responses; anything left out gets no response."""

    def set_cluster(
        *,
        apis: tuple[str, ...] | None = None,
        version: tuple[str, str] | None = None,
        storage: tuple[Mapping[str, Any], ...] | None = None,
        volumes: tuple[Mapping[str, Any], ...] | None = None,
        dns: Mapping[str, Any] | None = None,
    ) -> None:
        answers: dict[str, Any] = {**(dns or {})}
        if apis is not None:
            answers["/apis"] = {"groups": [{"versions": [{"groupVersion": one}]} for one in apis]}
        if version is not None:
            answers["/version"] = {"major": version[0], "minor": version[1]}
        if storage is not None:
            answers["storageclasses,persistentvolumeclaims"] = {"items": list(storage)}

        if volumes is not None:
            answers["persistentvolumes"] = {"items": list(volumes)}

        def read(settings: KubernetesSettings, *arguments: str) -> str:
            for resources, answer in answers.items():
                if resources in arguments and answer is not None:
                    return json.dumps(answer)
            raise kubectl.KubectlError("no response")

        monkeypatch.setattr(backend, "unreachable_reason", lambda settings: None)
        monkeypatch.setattr(kubectl, "available", lambda: True)
        monkeypatch.setattr(kubectl, "read", read)

    return set_cluster


def record_preview(*workloads: Workload, certificate: bool = False, **settings: Any) -> Recording[KubernetesBackend]:
    """Run a preview after the backend's check."""

    def program(made: KubernetesBackend, parent: pulumi.Resource) -> None:
        for one in workloads:
            made.deploy(one, DeployOptions(parent=parent))
        if certificate:
            made.request_certificate(CERTIFICATE, DeployOptions(parent=parent))
        made.preflight([])

    return record_program(program, preview=True, **settings)


def storage_class(annotations: Mapping[str, str], **fields: Any) -> dict[str, Any]:
    metadata = {"name": "fast", "annotations": annotations}
    return {"kind": "StorageClass", "metadata": metadata, "allowVolumeExpansion": True, **fields}


def claim(name: str, size: str = "5Gi", **labels: str) -> dict[str, Any]:
    spec = {"storageClassName": "fast", "resources": {"requests": {"storage": size}}}
    return {"kind": "PersistentVolumeClaim", "metadata": {"name": name, "labels": labels}, "spec": spec}


def grown(size_gib: int) -> StatefulService:
    return store(volumes=(Volume(name="data", mount="/data", size_gib=size_gib),))


FIXED = {"allowVolumeExpansion": False}


class TestApis:
    def test_a_missing_crd_is_reported_with_the_software_to_install(self, cluster: Cluster) -> None:
        cluster(apis=("apps/v1",))
        with pytest.raises(
            WorkloadError, match=r"cert-manager\.io/v1.*the CRD is missing.*Install or upgrade cert-man"
        ):
            record_preview(certificate=True)

    def test_another_api_version_is_reported(self, cluster: Cluster) -> None:
        cluster(apis=("cert-manager.io/v1alpha2",))
        with pytest.raises(WorkloadError, match=r"it serves cert-manager\.io/v1alpha2"):
            record_preview(certificate=True)

    @pytest.mark.parametrize("apis", [("cert-manager.io/v1",), None], ids=["served", "not known"])
    def test_an_api_that_is_served_or_unknown_passes_the_check(
        self, cluster: Cluster, apis: tuple[str, ...] | None
    ) -> None:
        cluster(apis=apis)
        assert len(record_preview(certificate=True).of_type("Certificate")) == 1

    @pytest.mark.parametrize(("apis", "warnings"), [(("apps/v1",), 1), (("metrics.k8s.io/v1beta1",), 0), (None, 0)])
    def test_autoscaling_without_metrics_causes_a_warning(
        self, cluster: Cluster, apis: tuple[str, ...] | None, warnings: int
    ) -> None:
        cluster(apis=apis)
        log = record_preview(workload(autoscaling=SCALE)).log
        assert len([one for one in log if "metrics.k8s.io" in str(one)]) == warnings


class TestStorage:
    def test_a_claim_without_any_storage_class_is_refused_before_anything_is_recorded(self, cluster: Cluster) -> None:
        cluster(storage=(storage_class({}),))
        with pytest.raises(WorkloadError, match=r"no default storage class.*data-store-0") as refused:
            record_preview(store())
        assert "pti-calendar:kubernetes.storageClass" in str(refused.value)

    def test_the_claims_of_a_scheduled_task_are_checked_like_those_of_a_store(self, cluster: Cluster) -> None:
        cluster(storage=(storage_class({}),))
        with pytest.raises(WorkloadError, match=r"no default storage class.*data-backup would stay pending"):
            record_preview(scheduled(volumes=(Volume(name="data", mount="/data"),)))

    def test_an_existing_claim_needs_no_default_class(self, cluster: Cluster) -> None:
        cluster(storage=(claim("data-store-0"),))
        assert len(record_preview(store()).of_type("PersistentVolumeClaim")) == 1

    @pytest.mark.parametrize("chosen", ["fast", None])
    def test_a_claim_that_is_being_deleted_is_refused_while_its_data_can_be_kept(
        self, cluster: Cluster, chosen: str | None
    ) -> None:
        deleted = {"name": "data-store-0", "deletionTimestamp": "2026-01-01T00:00:00Z"}
        claim = {"kind": "PersistentVolumeClaim", "metadata": deleted, "spec": {"volumeName": "pv-7"}}
        cluster(storage=(storage_class(DEFAULT), claim))
        with pytest.raises(WorkloadError, match=r"'data-store-0' .* is being deleted.*kubectl patch pv pv-7 .*Retain"):
            record_preview(store(), storage_class=chosen)

    def test_a_default_storage_class_is_enough_for_all_claims(self, cluster: Cluster) -> None:
        cluster(storage=(storage_class(DEFAULT),))
        assert len(record_preview(store()).of_type("PersistentVolumeClaim")) == 1

    def test_a_missing_storage_class_is_refused_unless_volumes_are_prepared_for_it(self, cluster: Cluster) -> None:
        cluster(storage=(storage_class(DEFAULT),), volumes=({"spec": {"storageClassName": "fast"}},))
        with pytest.raises(WorkloadError, match=r"kubernetes\.storageClass: .* 'slow'\. The claims data-store-0 would"):
            record_preview(store(), storage_class="slow")
        cluster(storage=(storage_class(DEFAULT),), volumes=({"spec": {"storageClassName": "slow"}},))
        assert not record_preview(store(), storage_class="slow").log
        cluster(storage=(storage_class(DEFAULT),))
        assert not record_preview(store(), storage_class="slow").log

    @pytest.mark.parametrize("size_gib", [1, 2, 3])
    def test_a_claim_that_has_to_grow_needs_a_class_that_allows_it(self, cluster: Cluster, size_gib: int) -> None:
        cluster(storage=(storage_class({}, **FIXED), claim("data-store-0", "2Gi")))
        if size_gib < 3:
            assert not record_preview(grown(size_gib)).log
            return
        with pytest.raises(WorkloadError, match=r"claim data-store-0 can't grow from 2 to 3 GiB: .* 'fast'") as refused:
            record_preview(grown(size_gib))
        assert "kubectl patch storageclass fast" in str(refused.value)

    def test_a_claim_grows_in_a_class_that_allows_it(self, cluster: Cluster) -> None:
        cluster(storage=(storage_class({}), claim("data-store-0", "2Gi")))
        assert not record_preview(grown(3)).log

    def test_a_claim_in_place_of_a_missing_one_is_left_to_the_update(self, cluster: Cluster) -> None:
        """The StatefulSet has created the claim, so its size isn't that of the missing claim."""
        substitute = claim("data-store-0", "1Gi")
        substitute["spec"]["storageClassName"] = MISSING_CLAIM_CLASS
        cluster(storage=(storage_class({}), substitute))
        assert not record_preview(grown(5)).log

    def test_only_new_claims_of_a_class_that_cannot_grow_cause_a_warning(self, cluster: Cluster) -> None:
        cluster(storage=(storage_class(DEFAULT, **FIXED),))
        (warning,) = record_preview(store()).log
        assert "'fast' of the new claims data-store-0 doesn't allow them to grow" in warning
        cluster(storage=(storage_class(DEFAULT, **FIXED), claim("data-store-0", "50Gi")))
        assert not record_preview(store()).log

    def test_a_class_that_binds_volumes_to_a_node_causes_a_warning(self, cluster: Cluster) -> None:
        """The default class of k3s is an example."""
        cluster(
            storage=(
                storage_class(DEFAULT, provisioner="rancher.io/local-path", volumeBindingMode="WaitForFirstConsumer"),
            )
        )
        (warning,) = record_preview(store()).log
        assert "keeps each volume on one node" in warning

    def test_a_class_that_binds_with_the_first_pod_causes_no_warning(self, cluster: Cluster) -> None:
        cluster(storage=(storage_class(DEFAULT, volumeBindingMode="WaitForFirstConsumer"),))
        assert not record_preview(store()).log

    def test_the_claims_of_an_operators_cluster_are_checked_too(self, cluster: Cluster) -> None:
        cluster(storage=())
        with pytest.raises(WorkloadError, match=r"no default storage class.*postgres-1, postgres-2, postgres-3"):
            record_postgres_cluster(preflight=True)
        cluster(storage=(claim("postgres-4", "20Gi", **{"cnpg.io/cluster": "postgres"}),))
        assert record_postgres_cluster(preflight=True).of_type("Cluster")
        cluster(storage=(claim("postgres-4", "10Gi", **{"cnpg.io/cluster": "postgres"}),))
        with pytest.raises(WorkloadError, match="claim postgres-4 can't grow from 10 to 20 GiB"):
            record_postgres_cluster(preflight=True)


NODE = {"/api/v1/nodes?limit=1": {"items": [{"metadata": {"name": "node-1"}}]}}
SERVICE_ADDRESS = "10.96.0.10"


def kubelet(*servers: str) -> dict[str, Any]:
    """Return a node whose pods use these DNS servers, which no Service has."""
    none: dict[str, Any] = {f"spec.clusterIP={server}": {"items": []} for server in servers}
    return {**NODE, **none, "/api/v1/nodes/node-1/proxy/configz": {"kubeletconfig": {"clusterDNS": [*servers]}}}


def dns_service(namespace: str, port: int = 53) -> dict[str, Any]:
    """Return the Service of DNS servers, and the port of their pods."""
    metadata = {"name": "dns", "namespace": namespace}
    ports = [{"protocol": "TCP", "port": 9154}, {"protocol": "UDP", "port": port}]
    return {
        f"spec.clusterIP={SERVICE_ADDRESS}": {"items": [{"metadata": metadata}]},
        "kubernetes.io/service-name=dns": {"items": [{"ports": ports}]},
    }


def node_local_cache(addresses: str) -> dict[str, Any]:
    """Return a NodeLocal DNSCache that listens on these addresses."""
    container = {"args": ["-localip", addresses, "-conf", "/etc/Corefile"]}
    return {"k8s-app=node-local-dns": {"items": [{"spec": {"template": {"spec": {"containers": [container]}}}}]}}


def set_key(key: str, value: str) -> str:
    return f"pulumi config set -s prod --path 'pti-calendar:kubernetes.dns.{key}' {value}"


KEPT = set_key("cidrs[0]", "169.254.20.10/32")


class TestDns:
    """The cluster's real DNS servers, of which the policies must allow each."""

    @pytest.mark.parametrize(
        "dns",
        [
            pytest.param(kubelet(SERVICE_ADDRESS) | dns_service("kube-system"), id="pods in kube-system"),
            pytest.param(kubelet("169.254.20.10"), id="a cache on each node, in the IPVS mode"),
            pytest.param(NODE, id="a kubelet that may not be read"),
            pytest.param({}, id="unknown"),
            pytest.param(
                kubelet(SERVICE_ADDRESS) | {f"spec.clusterIP={SERVICE_ADDRESS}": None}, id="an unknown Service"
            ),
            pytest.param({"services": {"items": [{"spec": {"ports": [{"port": 53}]}}]}}, id="a Service alone"),
        ],
    )
    def test_dns_servers_that_policies_allow_cause_no_warning(self, cluster: Cluster, dns: Mapping[str, Any]) -> None:
        cluster(dns=dns)
        assert not record_preview(workload()).log

    @pytest.mark.parametrize(
        ("dns", "commands"),
        [
            pytest.param(
                kubelet("169.254.169.254"), [KEPT, set_key("cidrs[1]", "169.254.169.254/32")], id="GKE with Cloud DNS"
            ),
            pytest.param(
                kubelet("172.20.0.10"), [KEPT, set_key("cidrs[1]", "172.20.0.10/32")], id="EKS Auto Mode: no Service"
            ),
            pytest.param(
                kubelet(SERVICE_ADDRESS)
                | dns_service("kube-system")
                | node_local_cache(f"169.254.20.10,{SERVICE_ADDRESS}"),
                [KEPT, set_key("cidrs[1]", "10.96.0.10/32")],
                id="NodeLocal DNSCache in the iptables mode",
            ),
            pytest.param(
                kubelet(SERVICE_ADDRESS) | dns_service("openshift-dns", 5353),
                [set_key("namespace", "openshift-dns"), set_key("port", "5353")],
                id="OpenShift",
            ),
            pytest.param(
                kubelet(SERVICE_ADDRESS) | dns_service("kube-system", 8053),
                [set_key("port", "8053")],
                id="Gardener",
            ),
            pytest.param(kubelet("fd00::a"), [KEPT, set_key("cidrs[1]", "fd00::a/128")], id="IPv6"),
            pytest.param({"services": {"items": []}}, [], id="no Service and no kubelet that may be read"),
        ],
    )
    def test_other_dns_servers_cause_a_warning_with_the_commands(
        self, cluster: Cluster, dns: Mapping[str, Any], commands: list[str]
    ) -> None:
        cluster(dns=dns)
        log = "\n".join(map(str, record_preview(workload()).log))
        assert re.findall(r"pulumi config set -s \S+ --path '\S+' [^\s;]*[^\s;.]", log) == commands
        assert "docs/clusters.md" in log

    @pytest.mark.parametrize(
        ("dns", "settings"),
        [
            (kubelet("169.254.169.254"), {"cidrs": ("169.254.20.10/32", "169.254.169.254/32")}),
            (
                kubelet(SERVICE_ADDRESS) | node_local_cache(f"169.254.20.10,{SERVICE_ADDRESS}"),
                {"cidrs": ("169.254.20.10/32", "10.96.0.10/32")},
            ),
            (
                kubelet(SERVICE_ADDRESS) | dns_service("openshift-dns", 5353),
                {"namespace": "openshift-dns", "port": 5353},
            ),
        ],
    )
    def test_the_commands_in_the_warning_fix_its_cause(
        self, cluster: Cluster, dns: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> None:
        cluster(dns=dns)
        assert not record_preview(workload(), dns=settings).log

    def test_addresses_are_added_to_a_list_that_is_set(self, cluster: Cluster) -> None:
        cluster(dns=kubelet("172.20.0.10"))
        log = str(record_preview(workload(), dns={"cidrs": ("10.0.0.1/32",)}).log)
        assert set_key("cidrs[1]", "172.20.0.10/32") in log.replace("\\'", "'")
        assert "cidrs[0]" not in log


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
        before_stop = container_spec(recording)["lifecycle"]["preStop"]
        assert before_stop == ({"sleep": {"seconds": 5}} if native else {"exec": {"command": ["sleep", "5"]}})

    def test_an_older_cluster_is_refused_with_the_fix(self, cluster: Cluster) -> None:
        cluster(version=("1", "32+"))
        with pytest.raises(WorkloadError, match=r"kubernetes\.minVersion: '1\.33', but .* is 1\.32\.") as refused:
            record_preview(workload(), min_version="1.33")
        assert "pulumi config set --path 'pti-calendar:kubernetes.minVersion' 1.32" in str(refused.value)

    @pytest.mark.parametrize("version", [("1", "33"), ("1", "34+"), ("2", "0"), None])
    def test_a_cluster_of_that_version_or_an_unknown_one_passes(
        self, cluster: Cluster, version: tuple[str, str] | None
    ) -> None:
        cluster(version=version)
        assert len(record_preview(workload(), min_version="1.33").of_type("Deployment")) == 1

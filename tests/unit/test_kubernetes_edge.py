"""Host names, certificates and operator-managed PostgreSQL on Kubernetes."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pulumi
import pytest

from backends.base import DeployOptions
from backends.kubernetes.backend import KubernetesBackend
from recording.recorder import Recording
from tests.unit.kubernetes_recording import find_manifest, pod_template_of, port, record_program, task, workload
from tests.unit.network_matrix import Matrix, Pod
from workloads import (
    CertificateRequest,
    EdgeEntry,
    Endpoint,
    Exposure,
    PostgresCluster,
    Route,
    SharedGateway,
    TlsKeyPair,
    WorkloadError,
)

KONG = Endpoint("kong", 8000)
EDGE = Pod("ingress")
ROUTES = (Route("api.example.com", KONG), Route("app.example.com", Endpoint("frontend", 8080)))


ENTRY = EdgeEntry(tls="wildcard")
GATEWAY = SharedGateway(name="shared", location="infra")


def record_exposure(
    through: EdgeEntry | SharedGateway = ENTRY, routes: tuple[Route, ...] = ROUTES
) -> Recording[KubernetesBackend]:
    """Deploy two workloads behind the cluster's edge."""

    def program(backend: KubernetesBackend, parent: pulumi.Resource) -> None:
        backend.deploy(workload("kong", ports=(port(8000), port(8100, "status"))), DeployOptions(parent=parent))
        backend.deploy(workload("frontend", ports=(port(8080),)), DeployOptions(parent=parent))
        exposure = Exposure(name="edge", routes=routes, through=through, edge_location="ingress")
        backend.expose(exposure, DeployOptions(parent=parent))

    return record_program(program)


class TestIngress:
    def test_each_host_is_routed_to_its_workload(self) -> None:
        spec = find_manifest(record_exposure(EdgeEntry(tls="wildcard", controller="traefik")), "Ingress", "edge")[
            "spec"
        ]
        assert spec["ingressClassName"] == "traefik"
        backends = {}
        for rule in spec["rules"]:
            (path,) = rule["http"]["paths"]
            assert (path["path"], path["pathType"]) == ("/", "Prefix")
            service = path["backend"]["service"]
            backends[rule["host"]] = (service["name"], service["port"]["number"])
        assert backends == {"api.example.com": ("kong", 8000), "app.example.com": ("frontend", 8080)}

    def test_the_clusters_default_class_is_used_if_none_is_set(self) -> None:
        assert "ingressClassName" not in find_manifest(record_exposure(), "Ingress", "edge")["spec"]

    def test_an_existing_certificate_secret_is_used_by_name(self) -> None:
        assert find_manifest(record_exposure(), "Ingress", "edge")["spec"]["tls"] == [
            {"hosts": ["api.example.com", "app.example.com"], "secretName": "wildcard"}
        ]

    def test_a_certificate_that_is_given_becomes_a_secret(self) -> None:
        recording = record_exposure(EdgeEntry(tls=TlsKeyPair("CERTIFICATE", "KEY")))
        secret = recording.get("Secret", "edge-tls")
        assert secret.inputs["type"] == "kubernetes.io/tls"
        assert {key: base64.b64decode(value) for key, value in secret.inputs["data"].items()} == {
            "tls.crt": b"CERTIFICATE",
            "tls.key": b"KEY",
        }
        assert secret.secret == {"data.tls.crt", "data.tls.key"}
        (tls,) = find_manifest(recording, "Ingress", "edge")["spec"]["tls"]
        renewed = record_exposure(EdgeEntry(tls=TlsKeyPair("CERTIFICATE", "OTHER KEY")))
        assert find_manifest(renewed, "Ingress", "edge")["spec"]["tls"] != [tls]

    def test_the_update_does_not_wait_for_the_address_of_an_ingress(self) -> None:
        annotations = find_manifest(record_exposure(), "Ingress", "edge")["metadata"]["annotations"]
        assert annotations == {"pulumi.com/skipAwait": "true"}

    def test_an_ingress_has_the_configured_annotations(self) -> None:
        options = {"nginx.ingress.kubernetes.io/proxy-body-size": "10m"}
        annotations = find_manifest(
            record_exposure(EdgeEntry(tls="wildcard", controller_options=options)), "Ingress", "edge"
        )["metadata"]["annotations"]
        assert options.items() <= annotations.items()


class TestGateway:
    def test_each_host_has_a_route_to_its_workload(self) -> None:
        backends = {}
        for one in record_exposure(GATEWAY).of_type("HTTPRoute"):
            spec = one.inputs["spec"]
            assert one.type == "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute"
            assert spec["parentRefs"] == [{"name": "shared", "namespace": "infra"}]
            (rule,) = spec["rules"]
            (backend,) = rule["backendRefs"]
            (host,) = spec["hostnames"]
            backends[host] = (backend["name"], backend["port"])
        assert backends == {"api.example.com": ("kong", 8000), "app.example.com": ("frontend", 8080)}

    def test_an_update_waits_until_the_gateway_accepts_the_routes(self) -> None:
        for one in record_exposure(GATEWAY).of_type("HTTPRoute"):
            waited_for = one.inputs["metadata"]["annotations"]["pulumi.com/waitFor"]
            assert waited_for.startswith("jsonpath={.status.parents[*].conditions[")

    def test_every_response_has_the_headers(self) -> None:
        gateway = SharedGateway(name="shared", response_headers={"X-Frame-Options": "DENY"})
        routes = record_exposure(gateway).of_type("HTTPRoute")
        for one in routes:
            (rule,) = one.inputs["spec"]["rules"]
            headers = {"set": [{"name": "X-Frame-Options", "value": "DENY"}]}
            assert rule["filters"] == [{"type": "ResponseHeaderModifier", "responseHeaderModifier": headers}]
        assert len(routes) == len(ROUTES)

    def test_the_plain_listener_redirects_every_host_to_https(self) -> None:
        recording = record_exposure(dataclasses.replace(GATEWAY, tls_listener="https", plain_listener="http"))
        shared = {"name": "shared", "namespace": "infra"}
        routes = {one.name: one.inputs["spec"] for one in recording.of_type("HTTPRoute")}
        redirecting = routes.pop("edge-to-https")
        assert redirecting["parentRefs"] == [{**shared, "sectionName": "http"}]
        assert redirecting["hostnames"] == [route.host for route in ROUTES]
        (rule,) = redirecting["rules"]
        redirect = {"scheme": "https", "statusCode": 301}
        assert rule == {"filters": [{"type": "RequestRedirect", "requestRedirect": redirect}]}
        parents = [spec["parentRefs"] for spec in routes.values()]
        assert parents == [[{**shared, "sectionName": "https"}]] * len(ROUTES)


class TestEdgePolicies:
    @pytest.mark.parametrize("through", [ENTRY, GATEWAY], ids=["ingress", "gateway"])
    def test_the_edge_reaches_the_exposed_ports_and_no_one_else_does(self, through: EdgeEntry | SharedGateway) -> None:
        matrix = Matrix(record_exposure(through))
        assert matrix.may_open(EDGE, "kong", 8000)
        assert matrix.may_open(EDGE, "frontend", 8080)
        assert not matrix.may_open(EDGE, "kong", 8100)
        assert not matrix.may_open(Pod("elsewhere"), "kong", 8000)
        assert not matrix.may_open("frontend", "kong", 8000)
        assert not matrix.may_open("203.0.113.7", "kong", 8000)

    @pytest.mark.parametrize(
        ("to", "reason"),
        [
            (
                Endpoint("shop", 80),
                "exposure 'edge' routes to 'shop', which is not deployed before it; deployed are kong, frontend",
            ),
            (Endpoint("kong", 8001), "exposure 'edge' connects to port 8001 of 'kong', which listens on 8000, 8100"),
        ],
    )
    def test_a_host_with_an_unknown_workload_is_refused(self, to: Endpoint, reason: str) -> None:
        with pytest.raises(WorkloadError) as refused:
            record_exposure(routes=(Route("api.example.com", to),))
        assert str(refused.value) == reason


class TestCertificates:
    @staticmethod
    def record_request() -> Recording[KubernetesBackend]:
        """Request two certificates."""

        def program(backend: KubernetesBackend, parent: pulumi.Resource) -> None:
            for name in ("edge", "internal"):
                request = CertificateRequest(
                    name=name, hosts=(f"{name}.example.com",), issuer="letsencrypt", has_shared_issuer=True
                )
                backend.request_certificate(request, DeployOptions(parent=parent))

        return record_program(program)

    def test_the_secret_has_the_requests_name(self) -> None:
        spec = find_manifest(self.record_request(), "Certificate", "edge")["spec"]
        assert spec["secretName"] == "edge"
        assert spec["dnsNames"] == ["edge.example.com"]
        assert spec["issuerRef"] == {"name": "letsencrypt", "kind": "ClusterIssuer", "group": "cert-manager.io"}

    def test_the_issuer_may_reach_the_acme_solver(self) -> None:
        matrix = Matrix(self.record_request())
        solver = Pod("pti-calendar", {"acme.cert-manager.io/http01-solver": "true"})
        assert matrix.may_open(EDGE, solver, 8089)
        assert not matrix.may_open(EDGE, solver, 80)
        assert not matrix.may_open(EDGE, Pod("pti-calendar"), 8089)


def record_postgres_cluster(
    *, instances: int = 3, protect: bool = False, preflight: bool = False, **settings: Any
) -> Recording[Endpoint]:
    """Deploy a PostgreSQL cluster, a task that needs it and a workload that doesn't."""
    endpoints: list[Endpoint] = []

    def program(backend: KubernetesBackend, parent: pulumi.Resource) -> None:
        order = PostgresCluster(
            name="postgres",
            image="postgresql:18.1",
            instances=instances,
            size_gib=20,
            memory_mib=1024,
            shm_mib=96,
            cpu_request=0.5,
            admin_password="s3cret",
            parameters={"max_connections": "200"},
            operator_namespace="cnpg-system",
            startup_s=900,
        )
        endpoint = backend.deploy_postgres_cluster(order, DeployOptions(parent=parent))
        backend.deploy(task(depends_on=("postgres",), connects_to=(endpoint,)), DeployOptions(parent=parent))
        metrics = Endpoint("postgres", 9187)
        backend.deploy(workload("prometheus", connects_to=(metrics,)), DeployOptions(parent=parent))
        backend.deploy(workload("idle"), DeployOptions(parent=parent))
        endpoints.append(endpoint)
        if preflight:
            backend.preflight([])

    recording = record_program(program, protect=protect, **settings)
    return Recording(result=endpoints[0], registrations=recording.registrations)


class TestPostgresCluster:
    def test_clients_reach_the_primary(self) -> None:
        endpoint = record_postgres_cluster().result
        assert (endpoint.workload, endpoint.host, endpoint.port) == ("postgres", "postgres-rw", 5432)

    def test_the_cluster_object_has_the_configured_image_and_size(self) -> None:
        spec = find_manifest(
            record_postgres_cluster(mirrors={"docker.io/library": "mirror.example.com"}, storage_class="fast"),
            "Cluster",
            "postgres",
        )["spec"]
        assert spec["instances"] == 3
        assert spec["imageName"] == "mirror.example.com/postgresql:18.1"
        assert spec["storage"] == {"size": "20Gi", "storageClass": "fast"}
        assert spec["resources"] == {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}
        assert spec["postgresql"]["parameters"] == {"max_connections": "200"}
        assert spec["ephemeralVolumesSizeLimit"] == {"shm": "96Mi"}

    @pytest.mark.parametrize("instances", [1, 2])
    def test_commits_do_not_wait_if_the_loss_of_one_server_would_stop_writes(self, instances: int) -> None:
        postgresql = find_manifest(record_postgres_cluster(instances=instances), "Cluster", "postgres")["spec"][
            "postgresql"
        ]
        assert "synchronous" not in postgresql

    @pytest.mark.parametrize(("instances", "replicas"), [(3, 1), (4, 1), (5, 2), (9, 4)])
    def test_a_commit_waits_for_half_of_the_replicas_and_only_one_that_has_it_is_promoted(
        self, instances: int, replicas: int
    ) -> None:
        postgresql = find_manifest(record_postgres_cluster(instances=instances), "Cluster", "postgres")["spec"][
            "postgresql"
        ]
        assert postgresql["synchronous"] == {"method": "any", "number": replicas, "failoverQuorum": True}

    def test_a_stopping_server_does_not_wait_for_open_pools(self) -> None:
        assert find_manifest(record_postgres_cluster(), "Cluster", "postgres")["spec"]["smartShutdownTimeout"] == 0

    def test_the_operators_default_database_is_closed(self) -> None:
        initdb = find_manifest(record_postgres_cluster(), "Cluster", "postgres")["spec"]["bootstrap"]["initdb"]
        assert (initdb["database"], initdb["owner"]) == ("app", "app")
        assert initdb["postInitApplicationSQL"] == [
            "REVOKE ALL ON DATABASE app FROM PUBLIC",
            "GRANT CONNECT ON DATABASE app TO pg_monitor",
            "ALTER ROLE app NOLOGIN",
        ]

    def test_the_superusers_password_is_a_secret(self) -> None:
        recording = record_postgres_cluster()
        secret = recording.get("Secret", "postgres-admin")
        assert secret.inputs["type"] == "kubernetes.io/basic-auth"
        assert {key: base64.b64decode(value) for key, value in secret.inputs["data"].items()} == {
            "username": b"postgres",
            "password": b"s3cret",
        }
        assert "data.password" in secret.secret
        spec = find_manifest(recording, "Cluster", "postgres")["spec"]
        assert spec["enableSuperuserAccess"] is True
        assert spec["superuserSecret"]["name"].startswith("auto-")

    @pytest.mark.parametrize("protect", [True, False])
    def test_the_data_of_the_cluster_outlives_the_stack(self, protect: bool) -> None:
        cluster = record_postgres_cluster(protect=protect).get("Cluster", "postgres")
        assert cluster.retain_on_delete
        assert cluster.protect is protect

    def test_the_network_policy_of_the_servers_outlives_the_stack(self) -> None:
        assert record_postgres_cluster().get("NetworkPolicy", "postgres").retain_on_delete

    def test_dependents_start_once_the_cluster_is_ready(self) -> None:
        recording = record_postgres_cluster()
        names = [str(one).rpartition(":")[2] for one in recording.registrations]
        order = ("Cluster postgres", "Stash postgres-ready", "Job migrate")
        assert (*sorted(order, key=names.index),) == order
        cluster = "kubernetes:postgresql.cnpg.io/v1:Cluster postgres"
        assert cluster in recording.get("Job", "migrate").dependencies
        assert cluster not in recording.get("Deployment", "idle").dependencies

    def test_only_clients_instances_and_the_operator_reach_the_cluster(self) -> None:
        matrix = Matrix(record_postgres_cluster())
        assert matrix.callers("postgres", 5432) == {"migrate"}
        assert matrix.callers("postgres", 9187) == {"prometheus"}
        assert matrix.callers("postgres", 8000) == set()
        operator = Pod("cnpg-system")
        for number in (5432, 8000):
            assert matrix.may_open("postgres", "postgres", number)
            assert matrix.may_open(operator, "postgres", number)
        assert not matrix.may_open(operator, "postgres", 9187)
        assert not matrix.may_open(Pod("elsewhere"), "postgres", 5432)

    def test_every_server_has_an_address_for_prometheus_ready_or_not(self) -> None:
        spec = find_manifest(record_postgres_cluster(), "Service", "postgres-pods")["spec"]
        assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
        assert spec["selector"] == {"cnpg.io/cluster": "postgres"}
        assert [port["port"] for port in spec["ports"]] == [9187]

    def test_the_cluster_reaches_the_api_server_but_not_the_internet(self) -> None:
        matrix = Matrix(record_postgres_cluster())
        assert matrix.may_open("postgres", "10.96.0.1", 443)
        assert matrix.may_open("postgres", "192.168.0.2", 6443)
        assert not matrix.may_open("postgres", "203.0.113.7", 80)

    def test_clients_of_the_cluster_carry_the_connection_label(self) -> None:
        labels = pod_template_of(record_postgres_cluster(), "migrate")["metadata"]["labels"]
        assert labels["calls.pti-calendar/postgres-5432"] == "true"

    def test_no_other_workload_can_use_the_name_of_the_cluster(self) -> None:
        def program(backend: KubernetesBackend, parent: pulumi.Resource) -> None:
            backend.deploy(workload("postgres"), DeployOptions(parent=parent))
            order = PostgresCluster(
                name="postgres",
                image="postgresql:18.1",
                instances=1,
                size_gib=1,
                memory_mib=256,
                shm_mib=64,
                cpu_request=0.1,
                admin_password="s3cret",
                operator_namespace="cnpg-system",
            )
            backend.deploy_postgres_cluster(order, DeployOptions(parent=parent))

        with pytest.raises(WorkloadError, match="store 'postgres' is deployed twice"):
            record_program(program)

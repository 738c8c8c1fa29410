"""Connections in production: every pair of pods is compared with a table of allowed connections."""

from __future__ import annotations

import pytest

from settings.catalog import FRONTENDS, SERVICES
from tests.unit.conftest import PROD_SECRETS, Deploy, stack_file
from tests.unit.network_matrix import Matrix, Pod

MIGRATIONS = {"services": {"migrationCommand": ["npm", "run", "migrate"]}}
"""The one setting that production's file leaves to the teams who build the services' images."""

SERVICES_WITH_PROVIDERS = {service.name for service in SERVICES if service.secrets}
SERVICE_NAMES = {service.name for service in SERVICES}
TASKS = {"databases", *(f"{name}-migrations" for name in SERVICE_NAMES)}

EXPORTERS = {
    "postgres-exporter": 9187,
    "redis-exporter": 9121,
    "kafka-exporter": 9308,
    "nginx-exporter": 9113,
    "probe-exporter": 9115,
    "kube-state-metrics": 8080,
}
API_SERVER_CLIENTS = {"prometheus", "kube-state-metrics"}
"""These workloads query the API server, and Prometheus also the kubelets, whose addresses no policy can select."""

CALLERS: dict[tuple[str, int], set[str]] = {
    ("postgres", 5432): {*SERVICE_NAMES, *TASKS, "postgres-exporter"},
    ("redis", 6379): {*SERVICE_NAMES, "kong", "redis-exporter"},
    ("kafka", 19092): {*SERVICE_NAMES, "kafka", "kafka-exporter"},
    ("kafka", 9093): {"kafka"},
    ("kong", 8000): {"nginx"},
    ("kong", 8100): {"prometheus"},
    ("nginx", 8081): {"nginx-exporter"},
    ("nginx", 8443): {"probe-exporter"},
    ("prometheus", 9090): {"grafana"},
    ("alertmanager", 9093): {"prometheus", "grafana"},
    **{(name, port): {"prometheus"} for name, port in EXPORTERS.items()},
    **{(service.name, service.port): {"kong", "prometheus"} for service in SERVICES},
    **{(frontend.name, frontend.port): {"nginx", "probe-exporter"} for frontend in FRONTENDS},
}
"""Maps each endpoint that platform workloads use to all its allowed callers."""

PUBLIC_ENDPOINTS = {("nginx", 8080), ("nginx", 8443)}
"""Endpoints that are open to the internet."""

CLOSED_ENDPOINTS = {("kong", 8443), ("kong", 8001), ("grafana", 3030)}
"""Ports that have a listener and that no pod may connect to: most importantly, Kong's Admin API."""

PORTS = sorted({port for _, port in [*CALLERS, *PUBLIC_ENDPOINTS, *CLOSED_ENDPOINTS]})
UNDECLARED_CLIENTS = {
    "a pod of another namespace": Pod("default"),
    "a pod of kube-system": Pod("kube-system"),
    "an undeclared pod of the platform's namespace": Pod("pti-calendar"),
}
OUTSIDE, PRIVATE, CLOUD_METADATA = "203.0.113.7", "10.1.2.3", "169.254.169.254"


@pytest.fixture(scope="module")
def matrix(deploy: Deploy) -> Matrix:
    """The connections that production's policies allow."""
    file = stack_file("prod")
    services = file["pti-calendar:services"] | MIGRATIONS["services"]
    return Matrix(deploy({**file, "pti-calendar:services": services}, PROD_SECRETS, stack="prod"))


def test_the_table_has_every_workload(matrix: Matrix) -> None:
    assert matrix.workloads == {name for name, _ in CALLERS} | TASKS | {"grafana"}


def test_connections_between_all_pods_match_the_table(matrix: Matrix) -> None:
    found = {
        (caller, callee, port)
        for caller in matrix.workloads
        for callee in matrix.workloads
        for port in PORTS
        if matrix.may_open(caller, callee, port)
    }
    assert found == {(caller, callee, port) for (callee, port), callers in CALLERS.items() for caller in callers}


@pytest.mark.parametrize("stranger", UNDECLARED_CLIENTS)
def test_an_undeclared_client_only_reaches_public_ports(matrix: Matrix, stranger: str) -> None:
    pod = UNDECLARED_CLIENTS[stranger]
    found = {(name, port) for name in matrix.workloads for port in PORTS if matrix.may_open(pod, name, port)}
    # A connection from the platform's own namespace is denied by egress policies, too.
    assert found == (PUBLIC_ENDPOINTS if pod.namespace != "pti-calendar" else set())


def test_the_internet_only_reaches_the_load_balancer(matrix: Matrix) -> None:
    assert {(name, port) for name in matrix.workloads for port in PORTS if matrix.may_open(OUTSIDE, name, port)} == (
        PUBLIC_ENDPOINTS
    )


def test_only_third_party_services_and_notifications_reach_the_internet_over_tls(matrix: Matrix) -> None:
    for address in (OUTSIDE, "2001:db8::1"):
        found = {
            (name, port)
            for name in matrix.workloads
            for port in (80, 443, 5432)
            if matrix.may_open(name, address, port)
        }
        assert found == {(name, 443) for name in {*SERVICES_WITH_PROVIDERS, *API_SERVER_CLIENTS, "alertmanager"}}


@pytest.mark.parametrize("address", [PRIVATE, CLOUD_METADATA, "192.168.0.1", "172.16.0.1", "fd00::1"])
def test_no_pod_reaches_private_networks_or_cloud_metadata(matrix: Matrix, address: str) -> None:
    found = {(name, port) for name in matrix.workloads for port in (80, 443) if matrix.may_open(name, address, port)}
    assert found == {(name, 443) for name in API_SERVER_CLIENTS}


def test_every_pod_only_uses_dns_in_kube_system(matrix: Matrix) -> None:
    system = Pod("kube-system")
    for name in matrix.workloads:
        assert matrix.may_open(name, system, 53, "UDP")
    for name in matrix.workloads - API_SERVER_CLIENTS:
        assert not matrix.may_open(name, system, 443)
        assert not matrix.may_open(name, system, 6443)

"""Allowed connections on Kubernetes: the policies, evaluated as in a cluster."""

from __future__ import annotations

import pytest

from tests.unit.kubernetes_recording import port, recording_of, stateful, task, workload
from tests.unit.network_matrix import Matrix, Pod
from workloads import INTERNET, Endpoint, ExternalEndpoint, WorkloadError

PUBLIC_ADDRESS = "203.0.113.7"
PRIVATE = "10.20.30.40"
CLOUD_METADATA = "169.254.169.254"

RECORDING = recording_of(
    stateful("db", ports=(port(5432), port(9187, "metrics"))),
    stateful("queue", replicas=3, ports=(port(9092), port(9093, "peers")), peer_ports=(9093,)),
    task("migrate", connects_to=(Endpoint("db", 5432),)),
    workload("api", ports=(port(3000),), connects_to=(Endpoint("db", 5432), Endpoint("queue", 9092), INTERNET)),
    workload("web", ports=(port(8080, publish=80, public=True),), connects_to=(Endpoint("api", 3000),)),
    workload("mail", connects_to=(ExternalEndpoint("mail.example.com", 587, cidrs=("198.51.100.0/24",)),)),
    workload("idle"),
)
MATRIX = Matrix(RECORDING)
WORKLOADS = ("db", "queue", "migrate", "api", "web", "mail", "idle")

ALLOWED = {
    ("migrate", "db", 5432),
    ("api", "db", 5432),
    ("api", "queue", 9092),
    ("web", "api", 3000),
    ("queue", "queue", 9093),
}
PORTS = (3000, 5432, 8080, 9092, 9093, 9187)


def test_only_declared_connections_are_allowed() -> None:
    open_ones = {
        (caller, callee, number)
        for caller in WORKLOADS
        for callee in WORKLOADS
        for number in PORTS
        if MATRIX.may_open(caller, callee, number)
    }
    # "From anywhere" includes these pods, but their own egress policies don't allow the connection.
    assert open_ones == ALLOWED


def test_users_reach_the_public_port_and_no_other() -> None:
    reached = {
        (name, number) for name in WORKLOADS for number in PORTS if MATRIX.may_open(PUBLIC_ADDRESS, name, number)
    }
    assert reached == {("web", 8080)}


def test_only_workloads_with_external_connections_have_egress() -> None:
    assert {name for name in WORKLOADS if MATRIX.may_open(name, PUBLIC_ADDRESS, 443)} == {"api"}
    assert not MATRIX.may_open("api", PUBLIC_ADDRESS, 80)
    assert MATRIX.may_open("api", "2001:db8::1", 443)


@pytest.mark.parametrize("address", [PRIVATE, CLOUD_METADATA, "192.168.1.1", "172.20.0.1", "100.64.0.1", "fd00::1"])
def test_the_internet_excludes_private_networks(address: str) -> None:
    assert not MATRIX.may_open("api", address, 443)


def test_an_external_server_with_addresses_is_only_reached_at_those() -> None:
    assert MATRIX.may_open("mail", "198.51.100.25", 587)
    assert not MATRIX.may_open("mail", PUBLIC_ADDRESS, 587)
    assert not MATRIX.may_open("mail", "198.51.100.25", 443)


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_pod_may_use_dns(name: str) -> None:
    for protocol in ("UDP", "TCP"):
        assert MATRIX.may_open(name, Pod("kube-system"), 53, protocol)
        assert MATRIX.may_open(name, "169.254.20.10", 53, protocol)
    assert not MATRIX.may_open(name, Pod("kube-system"), 443)
    assert not MATRIX.may_open(name, PUBLIC_ADDRESS, 53, "UDP")


def test_the_dns_servers_are_the_configured_ones() -> None:
    matrix = Matrix(recording_of(workload(), dns={"cidrs": ("10.9.9.9/32",)}))
    assert matrix.may_open("web", "10.9.9.9", 53, "UDP")
    assert not matrix.may_open("web", "169.254.20.10", 53, "UDP")


def test_dns_servers_with_another_port_have_a_rule_of_their_own() -> None:
    openshift = Matrix(recording_of(workload(), dns={"namespace": "openshift-dns", "port": 5353}))
    assert openshift.may_open("web", Pod("openshift-dns"), 5353, "UDP")
    assert openshift.may_open("web", "169.254.20.10", 53, "UDP")
    assert not openshift.may_open("web", Pod("openshift-dns"), 53, "UDP")
    assert not openshift.may_open("web", "169.254.20.10", 5353, "UDP")
    assert not openshift.may_open("web", Pod("kube-system"), 53, "UDP")


def test_without_other_dns_servers_only_the_pods_are_allowed() -> None:
    pods = Matrix(recording_of(workload(), dns={"port": 8053, "cidrs": ()}))
    assert pods.may_open("web", Pod("kube-system"), 8053, "UDP")
    assert not pods.may_open("web", PUBLIC_ADDRESS, 53, "UDP")


@pytest.mark.parametrize("stranger", [Pod("pti-calendar"), Pod("elsewhere"), Pod("kube-system")])
def test_an_undeclared_pod_reaches_no_store(stranger: Pod) -> None:
    assert not MATRIX.may_open(stranger, "db", 5432)


def test_an_unlabelled_pod_in_the_namespace_reaches_nothing() -> None:
    stranger = Pod("pti-calendar", {"app": "debug"})
    assert not any(MATRIX.may_open(stranger, name, number) for name in WORKLOADS for number in PORTS)
    assert not MATRIX.may_open(stranger, PUBLIC_ADDRESS, 443)


def test_a_copied_label_does_not_replace_an_egress_rule() -> None:
    disguised = Pod("pti-calendar", {"calls.pti-calendar/db-5432": "true"})
    assert not MATRIX.may_open(disguised, "db", 5432)


def test_the_same_label_in_another_namespace_grants_nothing() -> None:
    foreign = Pod("elsewhere", {"calls.pti-calendar/db-5432": "true"})
    assert not MATRIX.may_open(foreign, "db", 5432)


def test_without_the_policies_every_connection_would_be_allowed() -> None:
    """Verify that the evaluation also finds open connections."""
    RECORDING.registrations, policies = (
        [one for one in RECORDING.registrations if not one.type.endswith(":NetworkPolicy")],
        RECORDING.registrations,
    )
    try:
        open_cluster = Matrix(RECORDING)
    finally:
        RECORDING.registrations = policies
    assert open_cluster.may_open("idle", "db", 5432)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (
            Endpoint("cache", 6379),
            "workload 'web' depends on 'cache', which is not deployed before it; deployed are db",
        ),
        (Endpoint("db", 5433), "workload 'web' connects to port 5433 of 'db', which listens on 5432, 9187"),
    ],
)
def test_a_connection_to_an_unknown_endpoint_is_refused(call: Endpoint, reason: str) -> None:
    db = workload("db", ports=(port(5432), port(9187, "metrics")))
    with pytest.raises(WorkloadError) as refused:
        recording_of(db, workload(connects_to=(call,)))
    assert str(refused.value) == reason

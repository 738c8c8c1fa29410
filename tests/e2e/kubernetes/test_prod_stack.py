"""The prod stack on a real node: it starts, serves users, denies undeclared connections, and a second `up` changes
nothing.

Each test can run alone; in file order, they take the least time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from components.gateway.kong import ADMIN_PORT
from settings.catalog import FRONTENDS, SERVICES
from testbed.cluster import access
from tests.e2e.kubernetes import configuration, policy_agent
from tests.e2e.kubernetes.pods import Connection, UnrelatedPod, port_forward
from tests.e2e.kubernetes.stack import NAMESPACE, ClusterStack
from tests.engine.canary import VERBOSE_OPTIONS, generated_values, values_found_in
from tests.engine.waiting import until
from tests.failures import FailureRecord

LISTED_KINDS = "pods,services,ingresses,networkpolicies,persistentvolumeclaims,poddisruptionbudgets"
EXPORTERS = {f"{name}-exporter" for name in ("postgres", "redis", "kafka", "nginx", "probe")} | {"kube-state-metrics"}
MONITORING = {"prometheus", "alertmanager", "grafana"} | EXPORTERS
CONNECTIONS = [
    Connection("rdv", "postgres", 5432, is_open=True),
    Connection("rdv", "redis", 6379, is_open=True),
    Connection("rdv", "kafka", 19092, is_open=True),
    Connection("rdv", "user", 4000, is_open=False),
    Connection("rdv", "kafka", 9093, is_open=False),
    Connection("rdv", "kong", 8000, is_open=False),
    Connection("user", "nginx", 8081, is_open=False),
]
"""Connections whose callers are pods with Python; `tests/unit/test_prod_network.py` has the complete table."""


@pytest.fixture(scope="module", autouse=True)
def up(stack: ClusterStack) -> None:
    """Bring the stack up once and print the duration."""
    began = time.monotonic()
    stack.up().succeeded()
    print(f"pulumi up: {time.monotonic() - began:.0f} s")


@pytest.fixture(scope="module")
def unrelated_pod(stack: ClusterStack) -> Iterator[UnrelatedPod]:
    """A pod in another namespace."""
    with UnrelatedPod(stack.cluster, configuration.SERVICE_IMAGE) as pod:
        yield pod


@pytest.fixture(scope="module")
def enforced(unrelated_pod: UnrelatedPod) -> Iterator[None]:
    """Enforce network policies until the end of the module."""
    if access.cluster_from_environment():
        pytest.skip("it is unknown whether the cluster that PTI_TEST_KUBECONFIG names enforces network policies")
    with policy_agent.enforced():
        yield


def test_an_update_ends_when_every_pod_is_ready(stack: ClusterStack) -> None:
    print(stack.kubectl("get", LISTED_KINDS))
    pods = stack.pods()
    assert [name for name, pod in pods.items() if pod["status"]["phase"] != "Running"] == []
    assert stack.all_ready()
    running = {pod["metadata"]["labels"]["app.kubernetes.io/name"] for pod in pods.values()}
    names = {one.name for one in (*SERVICES, *FRONTENDS)}
    assert running == {"postgres", "redis", "kafka", "kong", "nginx"} | MONITORING | names
    assert {one["metadata"]["name"] for one in stack.objects("persistentvolumeclaims")} == configuration.CLAIMS


def test_no_container_has_crashed_during_the_start(stack: ClusterStack) -> None:
    restarts = {
        name: status["restartCount"]
        for name, pod in stack.pods().items()
        for status in pod["status"]["containerStatuses"]
        if status["restartCount"]
    }
    assert restarts == {}


def test_the_user_journey_passes(stack: ClusterStack) -> None:
    platform = stack.platform()
    platform.journey()
    platform.check_unknown_host()


@pytest.mark.usefixtures("enforced")
def test_the_user_journey_passes_with_network_policies_enforced(stack: ClusterStack) -> None:
    stack.platform().journey()


def test_the_admin_api_is_reachable_by_port_forward_and_from_no_pod(
    stack: ClusterStack, unrelated_pod: UnrelatedPod
) -> None:
    (kong,) = stack.pods("kong").values()
    address = kong["status"]["podIP"]
    (rdv, *_) = stack.pods("rdv")
    for opened in (
        unrelated_pod.opens(address, ADMIN_PORT),
        Connection("rdv", address, ADMIN_PORT, is_open=True).found(stack, rdv),
    ):
        assert not opened
    with port_forward(stack, "deployment/kong", ADMIN_PORT) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/status")
        assert connection.getresponse().status == 200


@pytest.mark.usefixtures("enforced")
@pytest.mark.parametrize("connection", CONNECTIONS, ids=str)
def test_a_pod_reaches_what_it_calls_and_nothing_else(stack: ClusterStack, connection: Connection) -> None:
    (pod, *_) = stack.pods(connection.caller)
    assert connection.found(stack, pod) is connection.is_open


@pytest.mark.usefixtures("enforced")
def test_a_pod_of_another_namespace_only_reaches_the_load_balancer(unrelated_pod: UnrelatedPod) -> None:
    endpoints = {("postgres", 5432), ("redis", 6379), ("kafka", 19092), ("kong", 8000), ("rdv", 4002)}
    found = {one: unrelated_pod.opens(f"{one[0]}.{NAMESPACE}.svc.cluster.local", one[1]) for one in endpoints}
    assert found == dict.fromkeys(endpoints, False)
    assert unrelated_pod.opens(f"nginx.{NAMESPACE}.svc.cluster.local", 8443)


def test_an_undeclared_pod_in_the_namespace_is_held_to_the_restricted_standard(stack: ClusterStack) -> None:
    refused = stack.refused("run", "guest", "--image=guest:1", "--restart=Never", "--dry-run=server")
    assert "violates PodSecurity" in refused
    assert "restricted" in refused


def test_no_secret_is_readable_in_a_pod_or_a_config_map(stack: ClusterStack) -> None:
    objects = stack.kubectl("get", "pods,configmaps,deployments,statefulsets,jobs", "--output=json")
    credentials = stack.outputs().credentials
    values = {credentials.jwt_secret, *credentials.postgres.values(), *configuration.THIRD_PARTY.values()}
    assert [value for value in values if value in objects] == []


def test_no_output_of_pulumi_contains_a_generated_credential(stack: ClusterStack) -> None:
    """This includes the output of the earlier updates, which created the stack."""
    verbose = [
        stack.preview("--json", "--refresh", *VERBOSE_OPTIONS).succeeded(),
        stack.up("--json", "--debug", *VERBOSE_OPTIONS).succeeded(),
    ]
    texts = {log.name: log.read_text() for log in stack.home.glob("*.events")}
    texts |= {f"output {number}": outcome.output for number, outcome in enumerate(verbose)}
    values = generated_values(stack)
    assert {"jwtSecret", "grafanaPassword", "postgresPassword", "gateway-key"} <= values.keys()
    assert any('"op":"create"' in text for text in texts.values())
    assert {name: found for name, text in texts.items() if (found := values_found_in(text, values))} == {}


def test_a_health_check_that_times_out_does_not_restart_postgresql(
    stack: ClusterStack, failure_record: FailureRecord
) -> None:
    """When PostgreSQL is process 1, an orphaned child of the check exits with a status that PostgreSQL takes for a
    crash."""
    failure_record.begin("A command in PostgreSQL's container is killed", on="Kubernetes", effect="nothing")
    ended = "/tmp/left-behind-ended"  # noqa: S108 - in the container
    before = checkpointer(stack)
    left = f"(sleep 1; touch {ended}; exit 2) </dev/null >/dev/null 2>&1 & exit 0"
    stack.kubectl("exec", "postgres-0", "--", "sh", "-c", left)
    until("it has ended", lambda: ended in stack.kubectl("exec", "postgres-0", "--", "sh", "-c", f"ls {ended} || true"))
    assert checkpointer(stack) == before
    failure_record.set_lost("nothing")


def checkpointer(stack: ClusterStack) -> str:
    """Return the process ID of PostgreSQL's checkpointer, which a crash restarts with all other processes."""
    # A process that ends while it is read makes grep fail, though it found the checkpointer.
    find = "grep -l '^postgres: checkpointer' /proc/[0-9]*/cmdline 2>/dev/null || true"
    found = stack.kubectl("exec", "postgres-0", "--", "sh", "-c", find)
    assert found
    return found


def test_an_up_with_refresh_finds_no_change(stack: ClusterStack) -> None:
    with stack.staying_as_it_is():
        stack.up("--refresh").succeeded()

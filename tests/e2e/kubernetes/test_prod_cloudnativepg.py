"""The prod stack with PostgreSQL on CloudNativePG: the real operator, three instances, loss of the primary.

The stack is smaller than prod, uses the namespace exclusively, and removes everything afterwards. The tests build on
each other and run in file order.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.request import urlopen

import pytest

from operations.cluster import CLUSTER_LABEL
from settings.catalog import SERVICES
from settings.stores.postgres import CloudNativePgSettings
from testbed import cluster
from testbed.cluster import access
from tests.e2e.counted import counted
from tests.e2e.kubernetes import cloudnativepg, configuration, policy_agent
from tests.e2e.kubernetes.monitored import Forwarded
from tests.e2e.kubernetes.pods import Connection, UnrelatedPod, port_forward
from tests.e2e.kubernetes.stack import NAMESPACE, ClusterStack, is_ready
from tests.e2e.load import Load
from tests.e2e.platform import Response
from tests.engine.waiting import until
from tests.failures import FailureRecord

INSTANCES = 3
DEPLOYED = ("user", "rdv")
SMALL_CONFIGURATION: dict[str, Any] = {
    "postgres": {"mode": "cloudnativepg", "cloudnativepg": {"instances": INSTANCES}},
    "kafka": {"brokers": 1},
    "services": {"deploy": [*DEPLOYED], "overrides": {"payment": None, "rdv": None}},
    "frontends": {"deploy": ["client-pwa"]},
}
"""Differences from the prod stack of the other modules."""

KIND = "clusters.postgresql.cnpg.io"
TENANT = uuid.uuid4()
RETAINED_TITLE = "kept through everything"

LOSSES: dict[str, tuple[str, ...]] = {"deleted gracefully": (), "killed": ("--grace-period=0", "--force")}
"""Ways to delete the primary's pod."""

PORTS = (5432, 8000, 9187)
"""Ports of an instance: PostgreSQL, the operator's status port, metrics."""


@pytest.fixture(scope="module")
def stack(test_cluster: cluster.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStack]:
    """This module's own stack, up, with a row that must still exist at the end.

    The shared stack uses the namespace until the last test, so this file runs before its modules (`FIRST_MODULES`).
    """
    if test_cluster.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found"):
        pytest.skip(f"the cluster already has a namespace {NAMESPACE}: delete it first")
    with cloudnativepg.installed(test_cluster, tmp_path_factory.mktemp("module")):
        made = ClusterStack(tmp_path_factory.mktemp("stack"), test_cluster)
        try:
            made.change(SMALL_CONFIGURATION)
            began = time.monotonic()
            made.up().succeeded()
            print(f"pulumi up: {time.monotonic() - began:.0f} s")
            assert made.platform().book(TENANT, title=RETAINED_TITLE).status == 201
            yield made
        finally:
            made.remove()
            cluster.recycle_volumes()


def state(stack: ClusterStack) -> dict[str, Any]:
    """Return the Cluster's status."""
    (found,) = stack.objects(KIND)
    status: dict[str, Any] = found["status"]
    return status


def servers(stack: ClusterStack) -> dict[str, dict[str, Any]]:
    """Return the pods that are PostgreSQL instances."""
    return {
        name: pod for name, pod in stack.pods().items() if pod["metadata"]["labels"].get(CLUSTER_LABEL) == "postgres"
    }


def is_whole(stack: ClusterStack) -> bool:
    """Return whether all instances are ready and one of them is the primary."""
    pods = servers(stack)
    return len(pods) == INSTANCES and all(map(is_ready, pods.values())) and state(stack).get("readyInstances") == 3


def primary(stack: ClusterStack) -> str:
    """Return the primary's pod."""
    return str(state(stack)["currentPrimary"])


def ask(stack: ClusterStack, query: str, database: str = "postgres", server: str | None = None) -> list[str]:
    """Run a query as the superuser in an instance's pod, by default the primary's, and return the rows."""
    command = ("psql", "--no-psqlrc", "-At", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", query)
    return stack.kubectl("exec", server or primary(stack), "--container=postgres", "--", *command).splitlines()


def test_an_update_ends_when_every_server_is_ready(stack: ClusterStack) -> None:
    print(stack.kubectl("get", f"pods,services,persistentvolumeclaims,networkpolicies,{KIND}"))
    assert is_whole(stack)
    assert stack.all_ready()
    # The PVCs belong to the Cluster and are deleted with it, so the Cluster itself must be retained.
    owned = {
        one["metadata"]["name"]
        for one in stack.objects("persistentvolumeclaims")
        if "Cluster" in {owner["kind"] for owner in one["metadata"].get("ownerReferences", [])}
    }
    assert owned == {f"postgres-{number}" for number in (1, 2, 3)}


def test_the_user_journey_passes(stack: ClusterStack) -> None:
    stack.platform().journey()


def test_the_databases_are_created_in_the_cluster(stack: ClusterStack) -> None:
    names = {f"pti_{service.name}" for service in SERVICES}
    assert names <= set(ask(stack, "SELECT datname FROM pg_database"))
    roles = {f"{name}_{suffix}" for name in names for suffix in ("owner", "migrator", "app")}
    assert roles | {"pti_backup", "pti_monitor"} <= set(ask(stack, "SELECT rolname FROM pg_roles"))
    check_authentication = (
        "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = 'appointments'::regclass"
    )
    for service in DEPLOYED:
        assert ask(stack, check_authentication, f"pti_{service}") == ["t"]
        assert ask(stack, "SELECT * FROM tenancy.audit()", f"pti_{service}") == []


def test_no_database_is_open_to_every_role(stack: ClusterStack) -> None:
    open_to_all = (
        "SELECT datname FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS acl "
        "WHERE acl.grantee = 0 AND datallowconn"
    )
    assert ask(stack, open_to_all) == []
    foreign = (
        "SELECT rolname FROM pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL AND rolname NOT LIKE 'pti\\_%'"
    )
    assert ask(stack, foreign) == ["postgres"]


def test_a_commit_waits_for_a_replica(stack: ClusterStack) -> None:
    assert ask(stack, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'") == ["2"]
    assert ask(stack, "SHOW synchronous_standby_names")[0].startswith("ANY 1")
    replica = next(name for name in servers(stack) if name != primary(stack))
    assert ask(stack, "SELECT pg_is_in_recovery()", server=replica) == ["t"]


def test_every_connection_over_the_network_is_encrypted(stack: ClusterStack) -> None:
    remote = (
        "SELECT DISTINCT usename, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE client_addr IS NOT NULL"
    )
    found = set(ask(stack, remote))
    assert {f"pti_{service}_app|t" for service in DEPLOYED} <= found
    assert all(one.endswith("|t") for one in found)


def test_sorting_does_not_depend_on_the_operating_system(stack: ClusterStack) -> None:
    query = "SELECT DISTINCT datlocprovider, datlocale, pg_encoding_to_char(encoding) FROM pg_database"
    assert ask(stack, query) == ["b|C.UTF-8|UTF8"]
    assert ask(stack, "SHOW data_checksums") == ["on"]


def test_prometheus_scrapes_the_replication_of_every_server(stack: ClusterStack) -> None:
    with port_forward(stack, "statefulset/prometheus", 9090) as port:
        prometheus = Forwarded(port, port)

        def values(expression: str) -> list[float]:
            return sorted(float(one["value"][1]) for one in prometheus.query(expression))

        until("all servers respond", lambda: values('up{job="cloudnativepg"}') == [1, 1, 1])
        until("the inhibited alert fires", lambda: values("cnpg_pg_replication_streaming_replicas") == [0, 0, 2])
        assert values("cnpg_pg_replication_in_recovery") == [0, 1, 1]
        rules = {
            rule["name"]: rule
            for group in prometheus.ask_prometheus("rules")["groups"]
            if group["name"] == "cloudnativepg"
            for rule in group["rules"]
        }
        assert rules.keys() >= {"PostgresWithoutStandby", "PostgresReplicationLag", "PostgresFailedOver"}
        read = {name for rule in rules.values() for name in prometheus.series_read(rule["query"])}
        assert read - {*prometheus.ask_prometheus("label/__name__/values")} == set()
        assert {name for name, rule in rules.items() if rule["alerts"]} == set()


def test_the_exporter_connects_to_the_cluster(stack: ClusterStack) -> None:
    with (
        port_forward(stack, "deployment/postgres-exporter", 9187) as port,
        urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page,
    ):
        lines = page.read().decode().splitlines()
    assert "pg_up 1" in lines
    assert any(line.startswith('pg_database_size_bytes{datname="pti_user"}') for line in lines)


def test_the_pods_of_the_cluster_meet_the_current_restricted_standard(stack: ClusterStack) -> None:
    # The output may contain the warning about existing pods that would not be admitted.
    stricter = "pod-security.kubernetes.io/enforce-version=latest"
    assert stack.remarks("label", "namespace", NAMESPACE, stricter, "--overwrite", "--dry-run=server") == ""


def test_no_secret_is_readable_outside_of_a_secret(stack: ClusterStack) -> None:
    objects = stack.kubectl("get", f"pods,configmaps,deployments,statefulsets,jobs,{KIND}", "--output=json")
    logs = cloudnativepg.operator_log(stack.cluster) + "".join(
        stack.kubectl("logs", name, "--container=postgres") for name in servers(stack)
    )
    passwords = stack.outputs().credentials.postgres
    assert "postgres" in passwords
    assert [role for role, password in passwords.items() if password in objects + logs] == []


def test_a_second_up_changes_nothing(stack: ClusterStack) -> None:
    with stack.staying_as_it_is():
        assert stack.up().succeeded().changes == []


def test_an_up_with_refresh_finds_no_change(stack: ClusterStack) -> None:
    with stack.staying_as_it_is():
        stack.up("--refresh").succeeded()


def test_network_policies_admit_callers_and_the_operator(stack: ClusterStack) -> None:
    if access.cluster_from_environment():
        pytest.skip("it is unknown whether the cluster that PTI_TEST_KUBECONFIG names enforces network policies")
    addresses = [pod["status"]["podIP"] for pod in servers(stack).values()]
    (rdv,) = stack.pods("rdv")
    image = configuration.SERVICE_IMAGE
    with (
        UnrelatedPod(stack.cluster, image) as unrelated_pod,
        UnrelatedPod(stack.cluster, image, cloudnativepg.NAMESPACE) as beside_the_operator,
        policy_agent.enforced(),
    ):
        stack.platform().journey()
        for address in addresses:
            opened = {port: Connection("rdv", address, port, is_open=True).found(stack, rdv) for port in PORTS}
            assert opened == {5432: True, 8000: False, 9187: False}
            assert {port: beside_the_operator.opens(address, port) for port in PORTS} == {**opened, 8000: True}
            assert {port: unrelated_pod.opens(address, port) for port in PORTS} == dict.fromkeys(PORTS, False)
        assert is_whole(stack)


@pytest.mark.parametrize("how", LOSSES)
def test_a_lost_primary_is_replaced_by_a_replica_with_every_row(stack: ClusterStack, how: str) -> None:
    platform, lost = stack.platform(), primary(stack)
    tenant = uuid.uuid4()
    booked: list[tuple[float, str]] = []

    def book() -> Response:
        title = str(uuid.uuid4())
        answer = platform.book(tenant, title=title)
        if answer.status == 201:
            booked.append((time.monotonic(), title))
        return answer

    with Load.of(book, per_second=4, max_duration_s=110) as load:
        until("bookings succeed", lambda: len(booked) > 8)
        began = time.monotonic()
        stack.kubectl("delete", "pod", lost, "--wait=false", *LOSSES[how])
        until("another server is the primary", lambda: primary(stack) not in {lost, "pending"})
        followed_s = time.monotonic() - began
        platform.seconds_until_recovered()
        recovered_s = time.monotonic() - began
    longest_s = max(later - earlier for (earlier, _), (later, _) in pairwise(sorted(booked)))
    print(
        f"{how}: a replica is the primary after {followed_s:.0f} s, all servers are back after {recovered_s:.0f} s; "
        f"{longest_s:.1f} s without a booking, {len(booked)} taken, {len(load.failures)} not"
    )
    assert {title for _, title in booked} <= set(platform.titles(tenant))
    until("all servers are ready", lambda: is_whole(stack), 300)
    assert RETAINED_TITLE in platform.titles(TENANT)
    stack.preview("--expect-no-changes").succeeded()


def test_a_changed_setting_reaches_every_server(stack: ClusterStack) -> None:
    platform = stack.platform()
    stack.change({"postgres": {"maxConnections": 145}})
    began = time.monotonic()
    stack.up().succeeded()
    print(f"pulumi up: {time.monotonic() - began:.0f} s; whole at its end: {is_whole(stack)}")

    def has_come() -> bool:
        try:
            found = {ask(stack, "SHOW max_connections", server=one)[0] for one in servers(stack)}
        except cluster.ClusterError:
            return False  # A server is restarting at the moment.
        return found == {"145"} and is_whole(stack)

    until("every server uses it", has_come, 300)
    print(f"every server has it after {time.monotonic() - began:.0f} s")
    platform.seconds_until_recovered()
    assert RETAINED_TITLE in platform.titles(TENANT)
    stack.preview("--expect-no-changes").succeeded()


def test_a_failed_image_pull_is_reported_and_can_be_reverted(
    stack: ClusterStack, failure_record: FailureRecord
) -> None:
    failure_record.begin("The image of CloudNativePG's servers can't be pulled", on="Kubernetes", effect="nothing")
    platform = stack.platform()
    right = CloudNativePgSettings().image
    stack.change({"postgres": {"cloudnativepg": {"image": f"{right}-missing"}}})
    with counted(platform, failure_record):
        began = time.monotonic()
        error = stack.up().failed().output
        print(f"reported after {time.monotonic() - began:.0f} s")
        assert re.search(r"pod postgres-\d, container \S+: (ErrImagePull|ImagePullBackOff)", error)
        assert " of 3 servers ready" in error
        assert platform.book(TENANT, title="booked meanwhile").status == 201
        stack.change({"postgres": {"cloudnativepg": {"image": right}}})
        with failure_record.measure_recovery():
            stack.up().succeeded()
            assert is_whole(stack)
    assert {RETAINED_TITLE, "booked meanwhile"} <= set(platform.titles(TENANT))
    failure_record.set_lost("nothing: every row still exists")
    stack.preview("--expect-no-changes").succeeded()


def test_destroy_keeps_the_data_and_the_next_up_finds_every_row_with_a_new_password(stack: ClusterStack) -> None:
    claims = {one["metadata"]["uid"] for one in stack.objects("persistentvolumeclaims")}
    identity = [one["metadata"]["uid"] for one in stack.objects(KIND)]
    stack.destroy().succeeded()
    until("the pods of all other workloads are gone", lambda: stack.pods().keys() == servers(stack).keys())
    assert [one["metadata"]["uid"] for one in stack.objects(KIND)] == identity
    assert {one["metadata"]["uid"] for one in stack.objects("persistentvolumeclaims")} == claims
    # The pods continue to run, so the policies that isolate them must stay as well.
    assert [one["metadata"]["name"] for one in stack.objects("networkpolicies")] == ["postgres"]

    stack.up().succeeded()
    assert [one["metadata"]["name"] for one in stack.objects("jobs") if one["status"].get("failed")] == []
    platform = stack.platform()
    assert RETAINED_TITLE in platform.titles(TENANT)
    platform.journey()
    stack.preview("--expect-no-changes").succeeded()

"""Failures around a running prod stack: DNS stops, the node is drained or loses power, the edge's certificate expires.

Each test leaves the stack healthy.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from testbed import cluster
from testbed.cluster import access, node, processes
from tests.e2e.counted import counted
from tests.e2e.kubernetes import configuration
from tests.e2e.kubernetes.monitored import Forwarded
from tests.e2e.kubernetes.pods import port_forward
from tests.e2e.kubernetes.restarts import restarts
from tests.e2e.kubernetes.stack import NAMESPACE, ClusterStack
from tests.e2e.kubernetes.under_load import under_load
from tests.e2e.load import Load
from tests.e2e.platform import Platform
from tests.e2e.self_signed import expired, self_signed
from tests.engine.waiting import until
from tests.failures import FailureRecord

pytestmark = pytest.mark.restarts("a node that loses power restarts the containers of its pods")

TENANT = uuid.uuid4()
BOOKING_TITLE = "kept through the node's troubles"
TLS_SECRET = "certificate-of-the-test"
REQUESTS = 100
"""Number of requests while DNS is down: at 4 per second, they take five times as long as nginx caches an address."""


@pytest.fixture(scope="module", autouse=True)
def up(stack: ClusterStack) -> None:
    """The stack in the module's initial state, with a row that must still exist at the end."""
    if access.cluster_from_environment():
        pytest.skip("the node of the cluster that PTI_TEST_KUBECONFIG names must not be broken")
    stack.up().succeeded()
    assert stack.platform().book(TENANT, title=BOOKING_TITLE).status == 201


@contextmanager
def used(stack: ClusterStack, failure_record: FailureRecord) -> Iterator[Load]:
    """Send requests for the duration of the context. Afterwards, check acknowledged bookings, every pod, and the row
    of the module's beginning."""
    with under_load(stack, failure_record) as load:
        yield load
    assert BOOKING_TITLE in stack.platform().titles(TENANT)


def test_a_dns_outage_restarts_no_pod(stack: ClusterStack, failure_record: FailureRecord) -> None:
    effect = "nginx' cached addresses expire after 5 s, then it answers 502 until DNS works again; no pod is restarted"
    failure_record.begin("The cluster's DNS stops", on="Kubernetes", effect=effect)
    before = restarts(stack.cluster)

    with used(stack, failure_record) as load:
        processes.stop("coredns")
        sent = len(load.samples)
        until("requests were sent meanwhile", lambda: len(load.samples) > sent + REQUESTS)
        with failure_record.measure_recovery():
            node.start_node()
            stack.platform().seconds_until_recovered()

    assert restarts(stack.cluster) == before


def test_a_drain_evicts_pods_one_after_the_other(stack: ClusterStack, failure_record: FailureRecord) -> None:
    """The only node stays schedulable, in place of other nodes: each pod is evicted as `kubectl drain` does."""
    effect = "requests wait or fail while a store's only pod is replaced"
    failure_record.begin("A node is drained", on="Kubernetes", effect=effect)
    old = stack.identities()

    with used(stack, failure_record), failure_record.measure_recovery():
        for name in old:
            until(f"{name} may be evicted", partial(evicted, stack, name))
        until("every pod has been replaced", lambda: not {*old.values()} & {*stack.identities().values()})
        until("every pod is ready", stack.all_ready)
        stack.platform().seconds_until_recovered()

    stack.preview("--expect-no-changes").succeeded()


def test_an_expired_certificate_is_reported_and_replaced_without_a_new_pod(
    stack: ClusterStack, failure_record: FailureRecord, tmp_path: Path
) -> None:
    effect = "every client that verifies certificates is refused; an alert names the certificate"
    failure_record.begin("The edge's certificate expires", on="Kubernetes", effect=effect)
    hosts = f"DNS:*.{configuration.DOMAIN}"
    expired(tmp_path / "expired", hosts)
    self_signed(tmp_path / "valid", hosts)
    trusted = "".join((tmp_path / name / "tls.crt").read_text() for name in ("expired", "valid"))

    def hand_over(folder: Path) -> None:
        pair = ("tls.crt", "tls.key")
        data = {name: base64.b64encode((folder / name).read_bytes()).decode() for name in pair}
        secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "data": data}
        secret["metadata"] = {"name": TLS_SECRET}
        stack.kubectl("apply", "--filename=-", input=json.dumps(secret))

    try:
        with stack.temporary_configuration():
            hand_over(tmp_path / "valid")
            stack.change({"gateway": {"tls": {"source": "secret", "secretName": TLS_SECRET}}})
            stack.up().succeeded()
            platform = stack.platform(certificate=trusted)
            with counted(platform, failure_record), port_forward(stack, "statefulset/prometheus", 9090) as port:
                prometheus, alert = Forwarded(port, port), ("CertificateExpired", "nginx")
                pods = stack.identities()
                hand_over(tmp_path / "expired")
                with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
                    until("nginx serves it", lambda: platform.book(TENANT).status != 201)
                until("it is reported", lambda: alert in firing(prometheus), 300)
                with failure_record.measure_recovery():
                    hand_over(tmp_path / "valid")
                    until("nginx serves the renewed certificate", lambda: verified(platform))
            assert stack.identities() == pods
            assert BOOKING_TITLE in platform.titles(TENANT)
            failure_record.set_lost("nothing")
    finally:
        stack.up().succeeded()
        stack.kubectl("delete", "secret", TLS_SECRET, "--ignore-not-found")


def verified(platform: Platform) -> bool:
    """Return whether a client that verifies the edge's certificate gets a response."""
    try:
        return platform.book(TENANT).status == 201
    except ssl.SSLCertVerificationError:
        return False


def firing(prometheus: Forwarded) -> set[tuple[str, str]]:
    """Return alert and workload of each firing alert."""
    found = prometheus.query('ALERTS{alertstate="firing"}')
    return {(one["metric"]["alertname"], one["metric"].get("workload", "")) for one in found}


def evicted(stack: ClusterStack, pod: str) -> bool:
    """Evict a pod; return False if its PodDisruptionBudget doesn't allow it."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": NAMESPACE},
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
    completed = subprocess.run(
        [*stack.cluster.command(), "create", "--raw", path, "--filename=-"],
        input=json.dumps(eviction),
        capture_output=True,
        text=True,
    )
    if completed.returncode and "disruption budget" not in completed.stderr:
        assert "NotFound" in completed.stderr, completed.stderr
    return completed.returncode == 0 or "NotFound" in completed.stderr


def test_a_node_that_loses_power_recovers_completely(stack: ClusterStack, failure_record: FailureRecord) -> None:
    failure_record.begin(
        "The only node loses power", on="Kubernetes", effect="the platform is unavailable until the node is back"
    )

    with used(stack, failure_record), failure_record.measure_recovery():
        cluster.down()
        cluster.up()
        until("every pod is ready", stack.all_ready, 300)
        stack.platform().seconds_until_recovered()

    stack.preview("--expect-no-changes").succeeded()

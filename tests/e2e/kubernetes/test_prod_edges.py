"""The prod stack behind edges other than its own: Traefik's Ingress class, then Traefik's Gateway, then nginx again.

Each test can run alone; in file order, they take the least time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from settings.catalog import FRONTENDS
from testbed.cluster import access
from tests.e2e.kubernetes import configuration, policy_agent
from tests.e2e.kubernetes.pods import UnrelatedPod
from tests.e2e.kubernetes.stack import NAMESPACE, ClusterStack
from tests.e2e.kubernetes.traefik import AS_GATEWAY, AS_INGRESS, PLATFORM_SECRET, Traefik, traefik
from tests.e2e.kubernetes.traefik import NAMESPACE as CONTROLLERS
from tests.e2e.platform import Platform
from tests.engine.waiting import until

SERVICES = [configuration.PUBLIC_SERVICE, "rdv"]
EXPOSED_FRONTENDS = FRONTENDS[:2]
MAX_BODY_MIB = 1
SMALL_CONFIGURATION: Mapping[str, Any] = {
    "monitoring": {"enabled": False},
    "services": {"deploy": SERVICES, "overrides": {"rdv": {"replicas": 1}}},
    "frontends": {"deploy": [one.name for one in EXPOSED_FRONTENDS]},
    "gateway": {"tls": {"source": "secret", "secretName": PLATFORM_SECRET}, "maxBodyMib": MAX_BODY_MIB},
}
"""A small part of the platform, and an externally managed certificate."""

UPSTREAMS = [("kong", 8000), *((one.name, one.port) for one in EXPOSED_FRONTENDS)]
"""Workloads that the edge routes to."""

_ASK = """
import http.client, socket, ssl, sys
address, host = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
connection = http.client.HTTPSConnection(host, context=context)
connection.sock = context.wrap_socket(socket.create_connection((address, 443), 30), server_hostname=host)
connection.request("GET", "/api/user/public/info")
print(connection.getresponse().headers["RateLimit-Remaining"])
"""


@pytest.fixture(scope="module")
def edge(stack: ClusterStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traefik]:
    """Traefik, and the reduced stack, not yet up; the configuration is restored at the end."""
    if access.cluster_from_environment():
        pytest.skip("the cluster that PTI_TEST_KUBECONFIG names may have a Gateway API already, and others' routes")
    with stack.temporary_configuration(), traefik(stack, tmp_path_factory.mktemp("traefik")) as running:
        stack.change(SMALL_CONFIGURATION)
        yield running


@pytest.fixture(scope="module")
def unrelated_pods(edge: Traefik, stack: ClusterStack) -> Iterator[dict[str, UnrelatedPod]]:
    """A pod beside the controller and one in an unrelated namespace, by namespace."""
    with (
        UnrelatedPod(stack.cluster, configuration.SERVICE_IMAGE) as unrelated,
        UnrelatedPod(stack.cluster, configuration.SERVICE_IMAGE, CONTROLLERS) as neighbour,
    ):
        yield {"elsewhere": unrelated, "beside the controller": neighbour}


@pytest.fixture
def ingress(stack: ClusterStack, edge: Traefik) -> Platform:
    """The platform behind an Ingress."""
    return use(stack, edge, AS_INGRESS)


@pytest.fixture
def gateway(stack: ClusterStack, edge: Traefik) -> Platform:
    """The platform behind a Gateway."""
    return use(stack, edge, AS_GATEWAY)


@pytest.fixture
def enforced(stack: ClusterStack, unrelated_pods: dict[str, UnrelatedPod]) -> Iterator[None]:
    """Enforce network policies for one test, while no pod changes."""
    stack.settle()
    with policy_agent.enforced():
        yield


def test_the_user_journey_passes_through_an_ingress(stack: ClusterStack, ingress: Platform) -> None:
    assert stack.pods("nginx") == {}
    check_journey(ingress)
    stack.preview("--expect-no-changes").succeeded()


def test_clients_behind_an_ingress_have_separate_rate_limits(
    ingress: Platform, unrelated_pods: dict[str, UnrelatedPod]
) -> None:
    check_separate_limits(ingress, unrelated_pods["elsewhere"])


def test_a_body_of_almost_the_largest_size_passes(ingress: Platform) -> None:
    title = "x" * (MAX_BODY_MIB * 1024**2 - 1024)
    response = ingress.call("POST", "/api/rdv/appointments", ingress.token(), {"title": title})
    assert response.status == 422, "the service's own answer"


def test_network_policies_admit_only_the_controllers_namespace(
    ingress: Platform, enforced: None, unrelated_pods: dict[str, UnrelatedPod]
) -> None:
    for location, is_allowed in {"beside the controller": True, "elsewhere": False}.items():
        found = {
            one: unrelated_pods[location].opens(f"{one[0]}.{NAMESPACE}.svc.cluster.local", one[1]) for one in UPSTREAMS
        }
        assert found == dict.fromkeys(UPSTREAMS, is_allowed), location
    ingress.journey()


def test_a_gateway_replaces_the_ingress_by_configuration_only(
    stack: ClusterStack, edge: Traefik, ingress: Platform
) -> None:
    before = stack.identities()
    gateway = use(stack, edge, AS_GATEWAY)
    assert stack.objects("ingresses") == []
    assert stack.rolled_since(before) == set()
    check_journey(gateway)
    stack.preview("--expect-no-changes").succeeded()


def test_the_gateway_accepts_every_route(stack: ClusterStack, gateway: Platform) -> None:
    conditions = {
        (route["metadata"]["name"], one["type"]): one["status"]
        for route in stack.objects("httproutes")
        for parent in route["status"]["parents"]
        for one in parent["conditions"]
    }
    assert len(conditions) == 2 * (len(UPSTREAMS) + 1)
    assert set(conditions.values()) == {"True"}, conditions


def test_clients_behind_a_gateway_have_separate_rate_limits(
    gateway: Platform, unrelated_pods: dict[str, UnrelatedPod]
) -> None:
    check_separate_limits(gateway, unrelated_pods["elsewhere"])


def test_network_policies_admit_users_through_the_gateway(gateway: Platform, enforced: None) -> None:
    gateway.journey()


def test_nginx_replaces_the_other_edges_without_leftovers(
    stack: ClusterStack, edge: Traefik, gateway: Platform
) -> None:
    stack.change({"edge": {"kind": None, "controllerNamespace": None, "gatewayApi": None, "nginx": {"replicas": 1}}})
    bring_up(stack)
    assert stack.objects("ingresses,httproutes.gateway.networking.k8s.io") == []
    opened = {one["metadata"]["name"] for one in stack.objects("networkpolicies")}
    assert {name for name in opened if "-from-" in name} == set()
    check_journey(stack.platform(edge.certificate))


def use(stack: ClusterStack, edge: Traefik, wanted: Mapping[str, Any]) -> Platform:
    """Switch the stack to this edge, unless it has it already, and return the platform behind it."""
    configured = stack.config_file.read_text()
    stack.change({"edge": {"ingress": None, "gatewayApi": None, **wanted}})
    kind = "ingresses" if wanted == AS_INGRESS else "httproutes.gateway.networking.k8s.io"
    if stack.config_file.read_text() != configured or stack.objects(kind) == []:
        bring_up(stack)
    return edge.by_ingress() if wanted == AS_INGRESS else edge.by_gateway()


def bring_up(stack: ClusterStack) -> None:
    """Run one `up` and print its duration."""
    began = time.monotonic()
    stack.up().succeeded()
    print(f"pulumi up: {time.monotonic() - began:.0f} s")
    stack.settle()


def check_journey(platform: Platform) -> None:
    """Run the whole journey once the edge has received its routes."""
    print(f"the journey passes after another {platform.seconds_until_recovered():.1f} s")
    platform.journey()


def check_separate_limits(platform: Platform, other: UnrelatedPod) -> None:
    """Check that clients can't choose their address by a header, and that each address has its own limit."""

    def left(**claimed: str) -> int:
        answer = platform.call("GET", f"/api/{configuration.PUBLIC_SERVICE}/public/info", headers=claimed)
        assert answer.status == 200, answer
        return int(answer.headers["RateLimit-Remaining"])

    def has_separate_limits() -> bool:
        before = left()
        claiming = [left(**{"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": "203.0.113.9"}) for number in (1, 2)]
        remaining = other.python(_ASK, f"traefik.{CONTROLLERS}.svc.cluster.local", platform.api_host)
        return claiming == [before - 1, before - 2] and int(remaining) > claiming[-1]

    # Limits count per calendar minute; if one ends meanwhile, the count restarts.
    until("clients have separate limits", has_separate_limits, 30)

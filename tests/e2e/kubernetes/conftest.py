"""One prod-like stack on the test cluster for all tests in this folder, changed step by step; skipped if the cluster
can't run.

The node is stopped after the last test, unless it was running before the first.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from operations import configuration
from testbed import cluster
from testbed.cluster import access
from testbed.cluster.access import kubectl_program
from testbed.cluster.constants import kubernetes_directory
from testbed.cluster.volumes import DEFAULT_CLASS
from tests.e2e.kubernetes.configuration import (
    FEW_WORKLOADS,
    IMAGES,
    NEXT_SERVICE_IMAGE,
    SERVICE_IMAGE,
    SMALL_CLAIM,
    SMALL_CONFIGURATION,
)
from tests.e2e.kubernetes.restarts import restarts
from tests.e2e.kubernetes.stack import NAMESPACE, ClusterStack
from tests.engine.machine import lacking
from tests.restarts import restarted_since

FIRST_MODULES = ("test_prod_cloudnativepg.py", "test_upgrade.py")
"""The modules that run before all others: one that needs the namespace for a stack of its own, and the one that creates
the shared stack with the last release's program."""

RESTARTS = pytest.StashKey[Mapping[str, int]]()
"""The restarts of each container at the end of the last module with a stack."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the modules so that as few pods as possible run beside a test, and each workload is added once.

    First those without a node, then those that need an empty namespace, few workloads, all workloads, and at the end
    those that remove the shared stack.
    """
    folder = Path(__file__).parent
    fixtures: dict[Path, set[str]] = {}
    for item in items:
        fixtures.setdefault(item.path, set()).update(getattr(item, "fixturenames", ()))

    def rank(item: pytest.Item) -> int:
        if item.path.parent != folder or "test_cluster" not in fixtures[item.path]:
            return -1
        if item.path.name in FIRST_MODULES:
            return FIRST_MODULES.index(item.path.name)
        later = 0 if "few_workloads" in fixtures[item.path] else 2 if "small_stack" in fixtures[item.path] else 1
        return len(FIRST_MODULES) + later

    items.sort(key=rank)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """Fail after a module's last test if a container was restarted, unless the module has the marker `restarts`.

    The restarts are counted before the module's fixtures remove their stacks. A restart of a pod that no longer exists
    isn't seen.
    """
    restarted: dict[str, int] = {}
    is_last = nextitem is None or nextitem.path != item.path
    if is_last and "test_cluster" in getattr(item, "fixturenames", ()) and _is_up():
        found = restarts(access.current_cluster())
        restarted = restarted_since(item.session.stash.setdefault(RESTARTS, {}), found)
        item.session.stash[RESTARTS] = found
    yield
    assert restarted == {} or item.get_closest_marker("restarts"), f"restarted in {item.path.name}: {restarted}"


@pytest.fixture(scope="session", autouse=True)
def _machine() -> None:
    if reason := lacking() or cluster.why_unavailable():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def left_as_found() -> Iterator[None]:
    """Give the tests an empty node and stop it afterwards, unless the node was running before them."""
    is_own_node = access.cluster_from_environment() is None and not _is_up()
    if is_own_node:
        cluster.reset()  # An interrupted run leaves its namespace and its volumes.
    yield
    if is_own_node:
        cluster.down()


@pytest.fixture(scope="session")
def test_cluster(left_as_found: None) -> cluster.Cluster:
    """A cluster with the images loaded."""
    if access.cluster_from_environment() is None and not _is_up():
        cluster.down()  # the API servers of tests without a node
    found = cluster.up()
    if access.cluster_from_environment() is None:
        # A release that differs only in its name.
        subprocess.run(["docker", "tag", SERVICE_IMAGE, NEXT_SERVICE_IMAGE], check=True)
        cluster.load([*IMAGES, NEXT_SERVICE_IMAGE])
    return found


@pytest.fixture(scope="session")
def stack(test_cluster: cluster.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStack]:
    """The stack, not yet up, or as the last module left it. Each module brings it to the state it needs and leaves it
    healthy."""
    if test_cluster.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found"):
        pytest.skip(f"the cluster already has a namespace {NAMESPACE}: delete it first")
    cluster.small_volume(NAMESPACE, SMALL_CLAIM)
    made = ClusterStack(tmp_path_factory.mktemp("stack"), test_cluster)
    try:
        yield made
    finally:
        made.remove()
        cluster.recycle_volumes()


@pytest.fixture(scope="module")
def few_workloads(stack: ClusterStack) -> Iterator[ClusterStack]:
    """The shared stack, up, with few services and without monitoring, so that its updates take less time."""
    with stack.temporary_configuration():
        stack.change(FEW_WORKLOADS)
        stack.up().succeeded()
        yield stack


@pytest.fixture(scope="module")
def operated(few_workloads: ClusterStack) -> Iterator[ClusterStack]:
    """The shared stack with few workloads, for the command line of `operations`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configuration, "ROOT", few_workloads.config_file.parent)
        patch.setenv("PATH", str(kubectl_program().parent), prepend=":")
        yield few_workloads


@pytest.fixture(scope="module")
def small_stack(
    stack: ClusterStack, test_cluster: cluster.Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClusterStack]:
    """A small stack, up, in place of the suite's, for a module that breaks it and its node."""
    if access.cluster_from_environment():
        pytest.skip("the cluster that PTI_TEST_KUBECONFIG names must not be broken")
    stack.remove()
    cluster.recycle_volumes()
    made = ClusterStack(tmp_path_factory.mktemp("small"), test_cluster)
    made.change(SMALL_CONFIGURATION)
    try:
        made.up().succeeded()
        yield made
    finally:
        made.remove()
        cluster.recycle_volumes()


@pytest.fixture
def api_server(left_as_found: None) -> cluster.Cluster:
    """An API server without nodes and controllers, with a default storage class like a real cluster."""
    version = cluster.API_SERVER_VERSIONS[0]
    if not (kubernetes_directory(version) / "kube-apiserver").exists():
        pytest.skip(f"Kubernetes {version} isn't built: python -m testbed.cluster build --api-servers")
    found = cluster.api_server(version)
    found.kubectl("apply", "--filename=-", input=json.dumps(DEFAULT_CLASS))
    return found


def _is_up() -> bool:
    try:
        access.current_cluster()
    except cluster.ClusterError:
        return False
    return True

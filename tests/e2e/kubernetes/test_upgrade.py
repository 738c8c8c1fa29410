"""Upgrade the last release's stack on a node, while in use, to the current program: no row and no object is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import cluster
from tests.e2e.bookings import Bookings, stored
from tests.e2e.kubernetes.configuration import SMALL_CONFIGURATION
from tests.e2e.kubernetes.pods import port_forward
from tests.e2e.kubernetes.stack import ClusterStack
from tests.e2e.upgrade import run_release, upgrade
from tests.failures import Tried

REPLACED = {"Job", "ConfigMap", "Secret"}
"""Objects that may be replaced because their names depend on their content."""

UNCHANGED_KINDS = (
    "persistentvolumeclaims",
    "statefulsets",
    "deployments",
    "services",
    "networkpolicies",
    "serviceaccounts",
)
"""Kinds whose objects must all keep their identity."""


@pytest.fixture
def released(stack: ClusterStack, test_cluster: cluster.Cluster, tmp_path: Path) -> Iterator[ClusterStack]:
    """The release's stack, up, in place of the suite's."""
    stack.remove()
    cluster.recycle_volumes()
    made = ClusterStack(tmp_path, test_cluster)
    made.change(SMALL_CONFIGURATION)
    run_release(made, tmp_path / "release")
    try:
        made.up().succeeded()
        yield made
    finally:
        made.remove()
        cluster.recycle_volumes()


def identities(stack: ClusterStack) -> dict[str, str]:
    """Map kind and name of each object to its UID."""
    return {
        f"{kind} {one['metadata']['name']}": one["metadata"]["uid"]
        for kind in UNCHANGED_KINDS
        for one in stack.objects(kind)
    }


def test_an_upgrade_from_the_last_release_keeps_every_row(released: ClusterStack, tried: Tried) -> None:
    tried.failure(
        "The program is upgraded from the last release",
        on="Kubernetes",
        notice="no page fails; bookings are refused while PostgreSQL is restarted, if the release changes its pod",
    )
    before = identities(released)
    bookings = Bookings(released.platform())

    update, load = upgrade(released, bookings, tried)

    assert update.replaced_types <= REPLACED
    assert before.items() <= identities(released).items()
    failed = {one.kind for one in load.samples if one.failure}
    assert failed <= ({"book", "list", "show"} if "update StatefulSet postgres" in update.changes else set())
    with port_forward(released, "statefulset/postgres", 5432) as port:
        compared = bookings.compared(stored(released.outputs(), bookings.run, ("127.0.0.1", port)))
    assert compared.acknowledged > 0
    assert compared.agrees, compared
    tried.lost("nothing: every acknowledged booking exists exactly once")

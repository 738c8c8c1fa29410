"""The last release's stack on a node, in use, is brought to the present program: no row and no object is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import baseline, cluster
from tests.cluster import access, volumes
from tests.e2e.bookings import Bookings, stored
from tests.e2e.kubernetes.pods import port_forward
from tests.e2e.kubernetes.released import SMALL, ReleasedStack
from tests.e2e.kubernetes.stack import ClusterStack
from tests.e2e.upgrade import kept_types, open_kong, upgrade
from tests.failures import Tried

REPLACED = {"StatefulSet", "Job", "ConfigMap", "Secret"}
"""What may be replaced: a StatefulSet's fields can't change, its claims stay; the others are named by their content."""

KEPT = ("persistentvolumeclaims", "deployments", "services", "networkpolicies", "serviceaccounts")
"""Kinds of which every object of the release has to be the same one afterwards."""


@pytest.fixture
def released(stack: ClusterStack, test_cluster: cluster.Cluster, tmp_path: Path) -> Iterator[ReleasedStack]:
    """The release's stack, up, in the place of the suite's."""
    if access.named_by_environment():
        pytest.skip("the cluster that PTI_TEST_KUBECONFIG names doesn't know the release's image of Kong")
    stack.remove()
    cluster.fresh_volumes()
    # The release's Kafka doesn't start beside it.
    volumes.without_lost_and_found()
    made = ReleasedStack(tmp_path, test_cluster)
    made.change(SMALL)
    made.runs(baseline.clone(tmp_path / "release"))
    try:
        with open_kong() as kong:
            cluster.load([kong])
            made.change({"gateway": {"kong": {"image": kong}}})
            made.up().succeeded()
            yield made
    finally:
        made.remove()
        cluster.fresh_volumes()


def identities(stack: ClusterStack) -> dict[str, str]:
    """Kind and name to the identity that no other object ever has."""
    return {f"{kind} {one['metadata']['name']}": one["metadata"]["uid"] for kind in KEPT for one in stack.objects(kind)}


def test_an_upgrade_from_the_last_release_keeps_every_row(released: ReleasedStack, tried: Tried) -> None:
    tried.failure(
        "The program is upgraded from the last release",
        on="Kubernetes",
        notice="no page fails; bookings are refused while PostgreSQL is started anew",
    )
    before = identities(released)
    bookings = Bookings(released.platform())

    update, load = upgrade(released, bookings, tried, lambda: released.change({"gateway": {"kong": {"image": None}}}))

    assert kept_types(update) == set()
    assert update.replaced_types <= REPLACED
    assert before.items() <= identities(released).items()
    assert [one for one in load.samples if one.kind == "page" and one.failure] == []
    with port_forward(released, "statefulset/postgres", 5432) as port:
        compared = bookings.compared(stored(released.outputs(), bookings.run, ("127.0.0.1", port)))
    assert compared.acknowledged > 0
    assert compared.agrees, compared
    tried.lost("nothing: every acknowledged booking is there, none twice")

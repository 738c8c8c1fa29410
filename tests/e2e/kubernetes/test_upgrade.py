"""Upgrade the last release's stack on a node, while in use, to the current program: no row and no object is lost.

This module runs first, and the following ones continue with its stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import baseline
from tests.e2e.bookings import Bookings, stored
from tests.e2e.kubernetes.configuration import FEW_WORKLOADS
from tests.e2e.kubernetes.pods import port_forward
from tests.e2e.kubernetes.stack import ClusterStack
from tests.e2e.upgrade import upgrade, use_former_keys
from tests.failures import FailureRecord

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
def released(stack: ClusterStack, tmp_path: Path) -> Iterator[ClusterStack]:
    """The suite's stack, created by the last release with few workloads. The next module's `up` adds the others."""
    with stack.running(baseline.clone(tmp_path / "release")):
        stack.change(FEW_WORKLOADS)
        use_former_keys(stack)
        stack.up().succeeded()
        yield stack


def identities(stack: ClusterStack) -> dict[str, str]:
    """Map kind and name of each object to its UID."""
    return {
        f"{kind} {one['metadata']['name']}": one["metadata"]["uid"]
        for kind in UNCHANGED_KINDS
        for one in stack.objects(kind)
    }


def test_an_upgrade_from_the_last_release_keeps_every_row(
    released: ClusterStack, failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "The program is upgraded from the last release",
        on="Kubernetes",
        effect="no page fails; bookings are refused while PostgreSQL is restarted, if the release changes its pod",
    )
    before = identities(released)
    bookings = Bookings(released.platform())

    done = upgrade(released, bookings, failure_record)

    assert done.update.replaced_types <= REPLACED
    assert before.items() <= identities(released).items()
    restarts_postgres = "update StatefulSet postgres" in done.update.changes
    assert done.failed_kinds <= ({"book", "list", "show"} if restarts_postgres else set())
    with port_forward(released, "statefulset/postgres", 5432) as port:
        compared = bookings.compared(stored(released.outputs(), bookings.run, ("127.0.0.1", port)))
    assert compared.acknowledged > 0
    assert compared.agrees, compared
    failure_record.set_lost("nothing: every acknowledged booking exists exactly once")

"""Upgrade the last release's stack on a Docker engine, while in use, to the current program: no row is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.bookings import Bookings, stored
from tests.e2e.full_stack import FRONTEND_IMAGE, FullStack, configuration, lacking_images
from tests.e2e.upgrade import kept_types, run_release, upgrade
from tests.engine import docker_engine
from tests.failures import FailureRecord

SERVICES = ["user", "rdv"]
FRONTEND = "client-pwa"
API_WORKLOADS = {"nginx", "kong", "postgres", *SERVICES}
SERVED_BY = dict.fromkeys(("book", "list", "show"), API_WORKLOADS) | {"page": {"nginx", FRONTEND}}
"""Maps the kinds of requests to the workloads that each needs. Services work without Redis and Kafka."""

REPLACED_CONTAINER = "create-replacement Container "


def test_an_upgrade_from_the_last_release_keeps_every_row(tmp_path: Path, failure_record: FailureRecord) -> None:
    if reason := lacking_images():
        pytest.skip(reason)
    failure_record.begin(
        "The program is upgraded from the last release",
        on="Docker",
        effect="a workload is unavailable while its only container is replaced, if the release changes it",
    )
    described = configuration({"deploy": SERVICES})
    described["frontends"] = {"deploy": [FRONTEND], "image": FRONTEND_IMAGE}
    stack = FullStack(tmp_path, configuration=described)
    try:
        run_release(stack, tmp_path / "release")
        stack.up().succeeded()
        volumes = docker_engine.persistent_volumes(stack.name)
        bookings = Bookings(stack.platform())

        done = upgrade(stack, bookings, failure_record)

        update = done.update
        replaced = {
            one.removeprefix(REPLACED_CONTAINER) for one in update.changes if one.startswith(REPLACED_CONTAINER)
        }
        assert done.failed_kinds <= {kind for kind, workloads in SERVED_BY.items() if workloads & replaced}
        assert done.failed_outside == []
        assert kept_types(update) == set()
        assert not {one for one in update.replaced if one.endswith(("-data", "-log"))}
        assert docker_engine.persistent_volumes(stack.name) == volumes
        compared = bookings.compared(stored(stack.outputs(), bookings.run))
        assert compared.acknowledged > 0
        assert compared.agrees, compared
        failure_record.set_lost("nothing: every acknowledged booking exists exactly once")
    finally:
        stack.remove()

"""The last release's stack on a Docker engine, in use, is brought to the present program: no row is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract import StackOutputs
from tests import baseline
from tests.e2e.bookings import Bookings, stored
from tests.e2e.full_stack import FRONTEND_IMAGE, FullStack, configuration, lacking_images
from tests.e2e.upgrade import kept_types, open_kong, upgrade
from tests.engine import docker_engine
from tests.failures import Tried

SERVICES = ["user", "rdv"]
FRONTEND = "client-pwa"


class ReleasedStack(FullStack):
    """A stack whose outputs may be the release's."""

    def outputs(self) -> StackOutputs[str]:
        """The outputs with their secret values."""
        return baseline.outputs(self.shown_outputs("--show-secrets"))


@pytest.fixture
def kong_image() -> Iterator[str]:
    """Kong's image for the release."""
    if reason := lacking_images():
        pytest.skip(reason)
    with open_kong() as name:
        yield name


def test_an_upgrade_from_the_last_release_keeps_every_row(tmp_path: Path, kong_image: str, tried: Tried) -> None:
    tried.failure(
        "The program is upgraded from the last release",
        on="Docker",
        notice="each workload is away while its one container is replaced",
    )
    described = configuration({"deploy": SERVICES})
    described["frontends"] = {"deploy": [FRONTEND], "image": FRONTEND_IMAGE}
    kong = described["gateway"]["kong"]
    # Without the key that the release doesn't know.
    described["gateway"]["kong"] = {key: value for key, value in kong.items() if key != "adminApi"} | {
        "image": kong_image
    }
    stack = ReleasedStack(tmp_path, configuration=described)
    try:
        stack.runs(baseline.clone(tmp_path / "release"))
        stack.up().succeeded()
        volumes = docker_engine.persistent_volumes(stack.name)
        bookings = Bookings(stack.platform())

        update, _ = upgrade(stack, bookings, tried, lambda: stack.configure({"gateway": {"kong": kong}}))

        assert kept_types(update) == set()
        assert not {one for one in update.replaced if one.endswith(("-data", "-log"))}
        assert docker_engine.persistent_volumes(stack.name) == volumes
        compared = bookings.compared(stored(stack.outputs(), bookings.run))
        assert compared.acknowledged > 0
        assert compared.agrees, compared
        tried.lost("nothing: every acknowledged booking is there, none twice")
    finally:
        stack.remove()

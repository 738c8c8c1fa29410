"""Every resource of the last release keeps its address, has an alias, or is listed as removed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from backends.addresses import RECORD_NAME
from tests import baseline
from tests.full_run import only_in_full_runs
from tests.unit.conftest import Deploy
from tests.unit.test_inventory import CONFIGURATIONS

REMOVED: Mapping[str, set[str]] = {}
"""Addresses of resources removed from the program since the last release, per stack; an update deletes them."""


QUICK = ("dev", "prod")
"""The configurations that `make test` checks."""


@pytest.mark.parametrize(
    "shape", [one if one in QUICK else pytest.param(one, marks=only_in_full_runs) for one in CONFIGURATIONS]
)
def test_every_resource_of_the_last_release_remains_or_is_listed_as_removed(deploy: Deploy, shape: str) -> None:
    recording = deploy(*CONFIGURATIONS[shape])
    present = {*recording.get("Stash", RECORD_NAME).inputs["input"].values(), f"pulumi:index:Stash::{RECORD_NAME}"}
    aliased = {urn.split("::", 2)[2] for one in recording.registrations for urn in one.aliases}
    assert set(baseline.addresses(shape)) - present - aliased == REMOVED.get(shape, set())


@pytest.mark.parametrize("shape", CONFIGURATIONS)
def test_the_whole_inventory_of_the_release_is_read(shape: str) -> None:
    found = baseline.addresses(shape)
    assert len(set(found)) == len((baseline.FOLDER / f"{shape}.txt").read_text().splitlines())
    assert "pti-calendar:index:Platform$pti-calendar:index:Credentials::credentials" in found

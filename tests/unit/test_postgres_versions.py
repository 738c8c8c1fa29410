"""Which PostgreSQL versions the artifact tests use."""

from __future__ import annotations

from pathlib import Path

import pytest

from settings.stores.postgres import PostgresSettings
from tests.artifacts import versions
from tests.artifacts.postgres_server import Installation

INSTALLED = [Installation(major, Path("bin")) for major in (15, 17, 18, 19)]


def majors(found: list[Installation]) -> list[int]:
    return [one.major for one in found]


@pytest.mark.parametrize(
    ("is_full", "is_long", "servers", "images"),
    [(False, False, [19], [18]), (True, False, [15, 19], [18]), (True, True, [15, 17, 18, 19], [17, 18, 19])],
    ids=["make test", "CI", "the long CI"],
)
def test_ci_uses_the_oldest_and_the_newest_version(
    is_full: bool, is_long: bool, servers: list[int], images: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "IS_FULL_RUN", is_full)
    monkeypatch.setattr(versions, "IS_LONG_RUN", is_long)
    assert PostgresSettings().major == 18
    assert majors(versions.server_versions(INSTALLED)) == servers
    assert majors(versions.image_versions(INSTALLED)) == images


@pytest.mark.parametrize(("installed", "servers", "images"), [([], [], []), ([15], [15], []), ([17], [17], [17])])
def test_a_machine_with_fewer_versions_uses_what_it_has(
    installed: list[int], servers: list[int], images: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "IS_FULL_RUN", True)
    monkeypatch.setattr(versions, "IS_LONG_RUN", False)
    found = [Installation(major, Path("bin")) for major in installed]
    assert majors(versions.server_versions(found)) == servers
    assert majors(versions.image_versions(found)) == images

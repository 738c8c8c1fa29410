"""Which of the machine's PostgreSQL versions the tests use.

- `make test`: the newest.
- `PTI_TESTS=all`, as in CI: the oldest and the newest. Tests of the image use its default version.
- `PTI_TESTS=long`, as in the long CI: every one.
"""

from __future__ import annotations

import pytest

from settings.stores.postgres import PostgresSettings
from tests.artifacts.postgres_server import Installation, installations
from tests.full_run import IS_FULL_RUN, IS_LONG_RUN


def server_versions(found: list[Installation]) -> list[Installation]:
    """Choose the servers that the provisioning task and the services' roles are tested with."""
    if IS_LONG_RUN:
        return found
    oldest = found[:1] if IS_FULL_RUN else []
    return [*dict.fromkeys([*oldest, *found[-1:]])]


def image_versions(found: list[Installation]) -> list[Installation]:
    """Choose from the major versions that `postgres.image` supports: its default version, or else the newest."""
    supported = [one for one in found if one.major >= 17]
    if IS_LONG_RUN:
        return supported
    return [one for one in supported if one.major == PostgresSettings().major] or supported[-1:]


def version_name(found: Installation | None) -> str:
    """Return the name of a test's version."""
    return f"postgres-{found.major}" if found else "no-postgres"


SERVER_VERSIONS: list[Installation | None] = [*server_versions(installations())] or [None]
SLOW_SERVER_VERSIONS = SERVER_VERSIONS if IS_LONG_RUN else SERVER_VERSIONS[-1:]
"""The versions for slow tests."""

IMAGE_VERSIONS: list[Installation | None] = [*image_versions(installations())] or [None]

on_the_newest_server = pytest.mark.parametrize("installation", SERVER_VERSIONS[-1:], indirect=True, ids=version_name)
"""Marks tests whose subject, such as the script, doesn't depend on the server's version."""

"""Restarts of containers that a test hasn't caused on purpose."""

from __future__ import annotations

from collections.abc import Mapping


def restarted_since(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return how often each container was restarted between two counts.

    A container that is new starts at zero, and so does one that was stopped and started by hand on Docker.
    """
    added = {
        container: count - known if (known := before.get(container, 0)) <= count else count
        for container, count in after.items()
    }
    return {container: count for container, count in added.items() if count}

"""What an update must report about a rollout that can't succeed."""

from __future__ import annotations

import re

PULL_REASONS = ("ImagePullBackOff", "ErrImagePull")
REPORTED_WITHIN_S = 120
"""Much less than the time that a workload may take to become ready."""


def assert_reported(output: str, workload: str, where: str, reasons: tuple[str, ...]) -> None:
    """Check that the error names the workload, its pod and container, and one of the reasons, without waiting for the
    rollout's timeout."""
    found = re.search(rf"{workload} isn't ready after (\d+) s", output)
    assert found
    assert int(found[1]) < REPORTED_WITHIN_S
    errors = output[found.start() :]
    assert where in errors
    assert any(reason in errors for reason in reasons), errors
    assert "docs/runbook.md#a-rollout-fails" in errors

"""A failed check of the machine ends the program immediately, with its message."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.paths import ROOT

PROGRAM = """
import pulumi
from backends.preflight import require_preflight

class Backend:
    def preflight(self, published):
        if list(published) == [("redis.port", 6379)]:
            raise pulumi.RunError("6379 is used: pulumi config set --path pti-calendar:redis.port 6380")

try:
    require_preflight(Backend(), [("redis.port", {port})], "prod")
finally:
    print("the SDK registers what is declared")
"""


@pytest.mark.parametrize(
    ("port", "code", "output", "error"),
    [
        (
            6379,
            1,
            "",
            "error: 6379 is used: pulumi config set -s prod --path pti-calendar:redis.port 6380\n",
        ),
        (6380, 0, "the SDK registers what is declared\n", ""),
    ],
)
def test_after_a_failed_check_nothing_else_of_the_program_runs(port: int, code: int, output: str, error: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(port=port)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, output, error)

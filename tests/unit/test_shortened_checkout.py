"""The shortened times of the monitoring suites, compared with those of the alert rules."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from operations.project import ROOT
from tests.e2e.shortened_checkout import FOR, WINDOWS

RULES = "\n".join(path.read_text() for path in sorted((ROOT / "assets/prometheus/rules").glob("*.yml")))
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(time: str) -> int:
    """Convert a duration with one unit to seconds."""
    return int(time[:-1]) * UNITS[time[-1]]


@pytest.mark.parametrize(
    ("pattern", "shortened"), [(r"(?m)^\s+for: (\S+)$", FOR), (r"\[(\w+)\]", WINDOWS)], ids=["for", "windows"]
)
def test_every_duration_of_a_rule_is_shortened(pattern: str, shortened: Mapping[str, str]) -> None:
    assert set(re.findall(pattern, RULES)) - shortened.keys() == set()


def test_shortened_durations_keep_their_order() -> None:
    in_order = sorted(FOR, key=seconds)
    assert [seconds(FOR[time]) for time in in_order] == sorted(map(seconds, FOR.values()))

"""The moments at which the suites on real engines kill updates, and the log they are counted in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engine import kills
from tests.engine.event_log import GrowingLog

SEED = "repeated"


@pytest.fixture(autouse=True)
def _seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kills.SEED_VARIABLE, SEED)
    monkeypatch.delenv(kills.RANGE_VARIABLE, raising=False)


def test_each_operation_is_killed_over_its_whole_length() -> None:
    for operation in kills.OPERATIONS:
        shares = [kill.share for kill in kills.of_a_platform() if kill.operation == operation]
        assert shares == sorted(shares)
        assert shares[0] < 1 / 6
        assert shares[-1] > 5 / 7


def test_several_runs_with_the_same_seed_add_up_to_all_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = kills.of_a_platform()
    assert [kill.number for kill in everything] == [*range(1, kills.OF_A_PLATFORM + 1)]
    parts = []
    for part in ("1-6", "7-7", "8-20"):
        monkeypatch.setenv(kills.RANGE_VARIABLE, part)
        parts += kills.of_a_platform()
    assert parts == everything


def test_a_growing_log_has_each_step_once_and_no_unfinished_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    growing = GrowingLog(path)
    assert growing.steps() == []
    urn = "urn:pulumi:dev::pti-calendar::docker:index/container:Container::postgres"
    line = json.dumps({"resourcePreEvent": {"metadata": {"op": "create", "urn": urn}}}) + "\n"
    path.write_text(line + line[:20])
    assert [str(step) for step in growing.steps()] == ["create of Container postgres begun"]
    with path.open("a") as log:
        log.write(line[20:])
    assert len(growing.steps()) == 2

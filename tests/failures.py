"""The suites' records of the failures that they cause; `docs/reliability.md` is generated from these records.

`python -m tests.failures REPORT.xml …` reads the records of passed tests from pytest's reports (`--junitxml`) and
stores them in `docs/failures.json`, replacing older records of the same failure. A failure that occurs several times in
the reports gets one record. Records without a test are dropped.
Then `make documents` generates the page.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from operations.documents.reliability import FAILURES_PATH, Failure, Requests, read_failures
from operations.project import ROOT
from tests.e2e.load import Load

PROPERTY = "failure"
SLOW_S = 1.0
"""Responses that take longer count as slow."""


@dataclass
class FailureRecord:
    """The record of a failure that a test causes, provided by the fixture `failure_record`.

    A test that causes several failures begins a record for each.
    """

    test: str
    """File and function."""

    _record: Callable[[str, object], None]
    _title: str = ""
    _on: str = ""
    _effect: str = ""
    _failed_at: float = 0.0
    _seconds: float | None = None
    _lost: str | None = None
    _requests: Requests | None = None

    def begin(self, title: str, *, on: str, effect: str) -> None:
        """Begin the record of another failure.

        Args:
            title: what is broken, for instance "A node is drained".
            on: the platform, for instance "Docker", "Kubernetes", "PostgreSQL 15".
            effect: what a user of the platform notices, or the operator in the case of a failed update.
        """
        self.end()
        self._title, self._on, self._effect = title, on, effect
        self._seconds = self._lost = self._requests = None

    def mark_failure(self) -> None:
        """Note the time of the failure."""
        self._failed_at = time.monotonic()

    def mark_recovery(self) -> None:
        """Note the time of the recovery."""
        self._seconds = time.monotonic() - self._failed_at

    @contextmanager
    def measure_recovery(self) -> Iterator[None]:
        """Measure a block from the failure to the recovery."""
        self.mark_failure()
        yield
        self.mark_recovery()

    def set_recovery_s(self, seconds: float) -> None:
        """Set the seconds to recovery; of several attempts, the longest."""
        self._seconds = seconds

    def set_lost(self, what: str) -> None:
        """Set what was lost, such as "nothing". Call it only after comparing the data."""
        self._lost = what

    def set_requests(self, load: Load) -> None:
        """Count the requests through the gateway during the failure."""
        answered = [one for one in load.samples if one.failure is None]
        self._requests = Requests(
            asked=len(load.samples),
            answered=len(answered),
            refused=len(load.samples) - len(answered),
            slow=sum(one.latency_s > SLOW_S for one in answered),
        )

    def end(self) -> None:
        """Write the record of the last described failure, if there is one.

        Raises:
            AssertionError: the test hasn't recorded what was lost.
        """
        if not self._title:
            return
        assert self._lost is not None, f"what was lost by {self._title!r} was not compared"
        seconds = None if self._seconds is None else round(self._seconds, 1)
        failure = Failure(self._title, self._on, self._effect, seconds, self._lost, self._requests, self.test)
        self._record(PROPERTY, json.dumps(asdict(failure)))
        self._title = ""


def records(report: Path) -> list[Failure]:
    """Return the records of the passed tests."""
    return [
        Failure.parse(json.loads(one.attrib["value"]))
        for case in ElementTree.parse(report).iter("testcase")  # noqa: S314 - written by pytest
        if case.find("failure") is None and case.find("error") is None
        for one in case.iter("property")
        if one.attrib["name"] == PROPERTY
    ]


def exists(test: str) -> bool:
    """Return whether a record's test still exists."""
    name, _, function = test.partition("::")
    path = ROOT / name
    return path.is_file() and re.search(rf"^ *def {re.escape(function)}\(", path.read_text(), re.MULTILINE) is not None


def combined(found: Iterable[Failure]) -> list[Failure]:
    """Return one record for each failure: the last one, with the longest recovery and the numbers of records and
    requests."""
    groups: dict[tuple[str, str], list[Failure]] = {}
    for one in found:
        groups.setdefault((one.title, one.on), []).append(one)
    return [
        replace(
            group[-1],
            seconds=max((one.seconds for one in group if one.seconds is not None), default=None),
            requests=sum_of([one.requests for one in group if one.requests is not None]),
            times=len(group),
        )
        for group in groups.values()
    ]


def sum_of(counts: list[Requests]) -> Requests | None:
    """Add up the requests during several failures; None if they weren't counted."""
    if not counts:
        return None
    return Requests(*map(sum, zip(*map(astuple, counts), strict=True)))


def main(reports: list[Path]) -> None:
    """Merge the reports' records into the stored ones."""
    found = combined(one for report in reports for one in records(report))
    kept = {(one.title, one.on): one for one in [*read_failures(), *found] if exists(one.test)}
    ordered = sorted(kept.values(), key=lambda one: (one.test, one.on, one.title))
    (ROOT / FAILURES_PATH).write_text(json.dumps([asdict(one) for one in ordered], indent=1) + "\n")
    print(f"{len(found)} failures recorded, {len(ordered)} in {FAILURES_PATH}. The page: make documents")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])

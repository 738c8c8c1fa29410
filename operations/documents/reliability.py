"""docs/reliability.md: the failures that the test suites caused and recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from operations.project import ROOT

FAILURES_PATH = Path("docs/failures.json")
PAGE_PATH = Path("docs/reliability.md")
BEGIN_MARKER = "<!-- generated: failures -->"
END_MARKER = "<!-- end of the generated part -->"


@dataclass(frozen=True)
class Requests:
    """Requests through the gateway during a failure."""

    asked: int
    answered: int
    """Responses with a status below 400."""

    refused: int
    """Responses with another status, and requests without a response."""

    slow: int
    """Responses more than 1 s after the request was due."""


@dataclass(frozen=True)
class Failure:
    """One failure that a test caused, and its effects."""

    title: str
    on: str
    notice: str
    seconds: float | None
    """Seconds from the failure to recovery; None if not measured, such as for a refused update."""

    lost: str
    requests: Requests | None
    test: str
    """File and function."""

    times: int = 1
    """Number of times that the tests of the recorded runs caused it. `seconds` is then the longest recovery."""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return a record from JSON."""
        requests = values["requests"]
        return cls(**{**values, "requests": Requests(**requests) if requests else None})


def read_failures() -> list[Failure]:
    """Return the stored records."""
    path = ROOT / FAILURES_PATH
    return [Failure.parse(one) for one in json.loads(path.read_text())] if path.exists() else []


def with_failures(page: str) -> str:
    """Return the page with the table of the records."""
    before, _, rest = page.partition(BEGIN_MARKER)
    _, _, after = rest.partition(END_MARKER)
    return f"{before}{BEGIN_MARKER}\n\n{_table(read_failures())}\n{END_MARKER}{after}"


def _table(failures: list[Failure]) -> str:
    counted = [one.requests for one in failures if one.requests]
    total = (
        f"{len(failures)} failures. Requests through the gateway during {len(counted)} of them: "
        f"{sum(one.asked for one in counted)} sent, {sum(one.answered for one in counted)} succeeded, "
        f"{sum(one.refused for one in counted)} failed, {sum(one.slow for one in counted)} slower than 1 s."
    )
    head = [
        "| failure | on | effect | s to recovery | lost | sent / succeeded / failed / slow | test |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([total, "", *head, *map(_row, sorted(failures, key=lambda one: (one.title.lower(), one.on))), ""])


def _row(one: Failure) -> str:
    requests = one.requests
    counts = f"{requests.asked} / {requests.answered} / {requests.refused} / {requests.slow}" if requests else "-"
    seconds = "-" if one.seconds is None else f"{one.seconds:.0f}" if one.seconds >= 10 else f"{one.seconds:.1f}"
    file = one.test.partition("::")[0]
    test = f"[{Path(file).stem.removeprefix('test_')}](../{file})"
    title = one.title if one.times == 1 else f"{one.title} ({one.times} times)"
    return f"| {' | '.join([title, one.on, one.notice, seconds, one.lost, counts, test])} |"

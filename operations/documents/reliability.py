"""docs/reliability.md: the failures that the suites cause, as they have recorded them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from operations.project import ROOT

FAILURES = Path("docs/failures.json")
PAGE = Path("docs/reliability.md")
BEGIN = "<!-- generated: failures -->"
END = "<!-- end of what is generated -->"


@dataclass(frozen=True)
class Requests:
    """What was asked through the gateway while something failed."""

    asked: int
    answered: int
    """With a status below 400."""

    refused: int
    """With another status, or not at all."""

    slow: int
    """Answered, and later than 1 s after they were due."""


@dataclass(frozen=True)
class Failure:
    """One failure that a test caused, and what came of it."""

    title: str
    on: str
    notice: str
    seconds: float | None
    """From the failure until all was well; None where that isn't measured, as for an update that is refused."""

    lost: str
    requests: Requests | None
    test: str
    """File and function."""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """From JSON."""
        requests = values["requests"]
        return cls(**{**values, "requests": Requests(**requests) if requests else None})


def read_failures() -> list[Failure]:
    """The kept records."""
    path = ROOT / FAILURES
    return [Failure.parse(one) for one in json.loads(path.read_text())] if path.exists() else []


def with_failures(page: str) -> str:
    """The page, with its table as the records say it."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{_table(read_failures())}\n{END}{after}"


def _table(failures: list[Failure]) -> str:
    counted = [one.requests for one in failures if one.requests]
    total = (
        f"{len(failures)} failures. Requests through the gateway in {len(counted)} of them: "
        f"{sum(one.asked for one in counted)} asked, {sum(one.answered for one in counted)} answered, "
        f"{sum(one.refused for one in counted)} refused, {sum(one.slow for one in counted)} slower than 1 s."
    )
    head = [
        "| failure | on | what is noticed | s until well | lost | asked / answered / refused / slow | test |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([total, "", *head, *map(_row, sorted(failures, key=lambda one: (one.title.lower(), one.on))), ""])


def _row(one: Failure) -> str:
    requests = one.requests
    counts = f"{requests.asked} / {requests.answered} / {requests.refused} / {requests.slow}" if requests else "-"
    seconds = "-" if one.seconds is None else f"{one.seconds:.0f}" if one.seconds >= 10 else f"{one.seconds:.1f}"
    file = one.test.partition("::")[0]
    test = f"[{Path(file).stem.removeprefix('test_')}](../{file})"
    return f"| {' | '.join([one.title, one.on, one.notice, seconds, one.lost, counts, test])} |"

"""What a running Prometheus answers to a panel's queries, with Grafana's variables filled in."""

from __future__ import annotations

import json
import math
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operations.project import OperationError

POINTS = 150
"""Values of a line at most."""

LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
DURATION = re.compile(r"(?:(\d+)m)?(?:(\d+)s)?")
TIMEOUT_S = 30


@dataclass(frozen=True)
class Span:
    """The time that a picture shows, in seconds."""

    end: float
    seconds: float
    scrape_interval: float

    @property
    def step(self) -> float:
        """Between two values of a line: whole scrapes."""
        scrapes = math.ceil(self.seconds / POINTS / self.scrape_interval)
        return scrapes * self.scrape_interval

    @property
    def moments(self) -> list[float]:
        """Where the values of a line stand."""
        count = int(self.seconds / self.step)
        return [self.end - (count - number) * self.step for number in range(count + 1)]


@dataclass(frozen=True)
class Series:
    """One line, or one number."""

    name: str
    values: tuple[float, ...]
    """One for each of the span's moments, NaN where there is none; a single one for an instant."""

    @property
    def last(self) -> float | None:
        """The last value there is."""
        return next((value for value in reversed(self.values) if not math.isnan(value)), None)


class Prometheus:
    """The API of a running one.

    Raises:
        OperationError: from each method, where it doesn't answer or refuses.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def scrape_interval(self) -> float:
        """The longest time between two looks at a target, in seconds."""
        targets = self._ask("targets", state="active")["activeTargets"]
        return max((_seconds(target["scrapeInterval"]) for target in targets), default=15.0)

    def lines(self, expression: str, legend: str, span: Span) -> list[Series]:
        """The series of an expression over the span."""
        moments = span.moments
        found = self._ask(
            "query_range",
            query=with_values(expression, span),
            start=str(moments[0]),
            end=str(moments[-1]),
            step=str(span.step),
        )
        return [Series(named(legend, one["metric"]), _aligned(one["values"], moments)) for one in found["result"]]

    def numbers(self, expression: str, legend: str, span: Span) -> list[Series]:
        """The values of an expression at the span's end."""
        found = self._ask("query", query=with_values(expression, span), time=str(span.end))
        return [Series(named(legend, one["metric"]), (float(one["value"][1]),)) for one in found["result"]]

    def _ask(self, path: str, **parameters: str) -> Any:
        url = f"{self._url}/api/v1/{path}"
        if not url.startswith(("http://", "https://")):
            raise OperationError(f"'{self._url}' is not the URL of a Prometheus server, such as http://127.0.0.1:9090")
        try:
            asked = f"{url}?{urllib.parse.urlencode(parameters)}"
            with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:  # noqa: S310 - checked above
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as refused:
            raise OperationError(f"{url} refuses ({refused.code}): {refused.read().decode()}") from None
        except OSError as error:
            raise OperationError(f"No Prometheus answers at {self._url}: {error}") from None


def with_values(expression: str, span: Span) -> str:
    """The expression with what Grafana puts in the place of its variables, every workload being chosen."""
    rate_interval = max(span.step + span.scrape_interval, 4 * span.scrape_interval)
    return (
        expression.replace("$__rate_interval", f"{rate_interval:.0f}s")
        .replace("$__range", f"{span.seconds:.0f}s")
        .replace("$workload", ".+")
    )


def named(legend: str, labels: Mapping[str, str]) -> str:
    """The name in the legend: labels in the place of `{{label}}`."""
    return LABEL.sub(lambda found: labels.get(found[1], ""), legend).strip()


def _aligned(points: list[list[Any]], moments: list[float]) -> tuple[float, ...]:
    known = {round(float(moment), 3): float(value) for moment, value in points}
    return tuple(known.get(round(moment, 3), math.nan) for moment in moments)


def _seconds(duration: str) -> float:
    """Of Prometheus' own writing: `15s`, `1m30s`."""
    found = DURATION.fullmatch(duration)
    if found is None:
        raise OperationError(f"the scrape interval '{duration}' is not a duration in minutes and seconds")
    return 60 * int(found[1] or 0) + int(found[2] or 0)

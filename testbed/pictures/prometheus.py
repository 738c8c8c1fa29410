"""A running Prometheus' responses to a panel's queries, with Grafana's variables filled in."""

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
"""Maximum number of points per line."""

LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
DURATION = re.compile(r"(?:(\d+)m)?(?:(\d+)s)?")
TIMEOUT_S = 30


@dataclass(frozen=True)
class TimeRange:
    """The time range of a picture, in seconds."""

    end: float
    seconds: float
    scrape_interval: float

    @property
    def step(self) -> float:
        """Return the interval between two points of a line, a multiple of the scrape interval."""
        scrapes = math.ceil(self.seconds / POINTS / self.scrape_interval)
        return scrapes * self.scrape_interval

    @property
    def moments(self) -> list[float]:
        """Return the timestamps of a line's points."""
        count = int(self.seconds / self.step)
        return [self.end - (count - number) * self.step for number in range(count + 1)]


@dataclass(frozen=True)
class Series:
    """A line or a number."""

    name: str
    values: tuple[float, ...]
    """One value per time, NaN if there is none; an instant query has a single value."""

    @property
    def last(self) -> float | None:
        """Return the last existing value."""
        return next((value for value in reversed(self.values) if not math.isnan(value)), None)


class Prometheus:
    """The API of a running Prometheus.

    Raises:
        OperationError: from each method, if it doesn't respond or refuses the query.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def scrape_interval(self) -> float:
        """Return the longest scrape interval of a target, in seconds."""
        targets = self._ask("targets", state="active")["activeTargets"]
        return max((_seconds(target["scrapeInterval"]) for target in targets), default=15.0)

    def query_range(self, expression: str, legend: str, span: TimeRange) -> list[Series]:
        """Return the series of an expression over the time range."""
        moments = span.moments
        found = self._ask(
            "query_range",
            query=with_values(expression, span),
            start=str(moments[0]),
            end=str(moments[-1]),
            step=str(span.step),
        )
        return [Series(named(legend, one["metric"]), _aligned(one["values"], moments)) for one in found["result"]]

    def query_instant(self, expression: str, legend: str, span: TimeRange) -> list[Series]:
        """Return the values of an expression at the end of the time range."""
        found = self._ask("query", query=with_values(expression, span), time=str(span.end))
        return [Series(named(legend, one["metric"]), (float(one["value"][1]),)) for one in found["result"]]

    def _ask(self, path: str, **parameters: str) -> Any:
        url = f"{self._url}/api/v1/{path}"
        if not url.startswith(("http://", "https://")):
            raise OperationError(f"'{self._url}' is not the URL of a Prometheus server, such as http://127.0.0.1:9090")
        try:
            query_url = f"{url}?{urllib.parse.urlencode(parameters)}"
            with urllib.request.urlopen(query_url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - checked above
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as refused:
            raise OperationError(f"{url} refuses ({refused.code}): {refused.read().decode()}") from None
        except OSError as error:
            raise OperationError(f"No Prometheus answers at {self._url}: {error}") from None


def with_values(expression: str, span: TimeRange) -> str:
    """Return the expression with Grafana's variables filled in and every workload selected."""
    rate_interval = max(span.step + span.scrape_interval, 4 * span.scrape_interval)
    return (
        expression.replace("$__rate_interval", f"{rate_interval:.0f}s")
        .replace("$__range", f"{span.seconds:.0f}s")
        .replace("$workload", ".+")
    )


def named(legend: str, labels: Mapping[str, str]) -> str:
    """Return the name in the legend, with labels in place of `{{label}}`."""
    return LABEL.sub(lambda found: labels.get(found[1], ""), legend).strip()


def _aligned(points: list[list[Any]], moments: list[float]) -> tuple[float, ...]:
    known = {round(float(moment), 3): float(value) for moment, value in points}
    return tuple(known.get(round(moment, 3), math.nan) for moment in moments)


def _seconds(duration: str) -> float:
    """Parse a duration in Prometheus' format: `15s`, `1m30s`."""
    found = DURATION.fullmatch(duration)
    if found is None:
        raise OperationError(f"the scrape interval '{duration}' is not a duration in minutes and seconds")
    return 60 * int(found[1] or 0) + int(found[2] or 0)

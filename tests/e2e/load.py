"""A steady load from this machine, for what must go on working while something changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from types import TracebackType
from typing import Self

from tests.e2e.platform import Answer


@dataclass(frozen=True)
class Request:
    """One request that is still to be sent."""

    send: Callable[[], Answer]
    kind: str = "request"


@dataclass(frozen=True)
class Sample:
    """What became of one request. Times are seconds since the load's beginning."""

    kind: str

    due_s: float
    """When the schedule had it sent."""

    sent_s: float
    ended_s: float

    failure: str | None
    """The answer that wasn't below 400, or the error; None where it went well."""

    @property
    def latency_s(self) -> float:
        """From the scheduled moment to the end of the answer.

        Not from the moment of sending: while the platform stands still, senders wait for their answers, and the
        requests that they send late would seem fast (coordinated omission).
        """
        return self.ended_s - self.due_s


@dataclass
class Load:
    """So many requests a second, from the `with` to its end, and never for longer than `at_most_s`.

    Each request is due at its own time, whether or not the one before has been answered; one whose time comes while
    all workers still wait for answers is sent late, and nothing is left out before the end.
    """

    next: Callable[[], Request]
    """The next request; asked by one worker at a time."""

    per_second: float = 10
    at_most_s: float = 120
    workers: int = 8
    """Most requests in flight."""

    samples: list[Sample] = field(default_factory=list)
    """Of each answered request, in the order of their ends."""

    @classmethod
    def of(cls, send: Callable[[], Answer], per_second: float = 10, at_most_s: float = 120) -> Self:
        """The same request again and again."""
        request = Request(send)
        return cls(lambda: request, per_second, at_most_s)

    @property
    def well(self) -> int:
        """Answers below 400 so far."""
        return sum(one.failure is None for one in self.samples)

    @property
    def failures(self) -> list[str]:
        """What else came so far, each with its seconds since the beginning."""
        return [f"{one.sent_s:.2f} s: {one.failure}" for one in self.samples if one.failure is not None]

    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._begun = 0
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.workers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._lock:
                due = self._begun / self.per_second
                self._begun += 1
            wait = due - self.now_s()
            if due > self.at_most_s or self._stopped.wait(max(0.0, wait)):
                return
            self._one(due)

    def _one(self, due: float) -> None:
        with self._lock:
            request = self.next()
        sent = self.now_s()
        try:
            answer = request.send()
            failure = None if answer.status < 400 else f"{answer.status} {answer.body[:200]!r}"
        except (OSError, HTTPException) as error:
            failure = repr(error)
        # An append is whole: whoever looks meanwhile sees the samples so far.
        self.samples.append(Sample(request.kind, due, sent, self.now_s(), failure))

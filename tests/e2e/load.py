"""A steady load from this machine, to test what must keep working during a change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from types import TracebackType
from typing import Self

from tests.e2e.platform import Response


@dataclass(frozen=True)
class Request:
    """A request that has yet to be sent."""

    send: Callable[[], Response]
    kind: str = "request"


@dataclass(frozen=True)
class Sample:
    """The result of one request. Times are seconds since the start of the load."""

    kind: str

    due_s: float
    """Scheduled send time."""

    sent_s: float
    ended_s: float

    failure: str | None
    """A response status of 400 or more, or the error; None on success."""

    @property
    def latency_s(self) -> float:
        """Seconds from the scheduled time to the end of the response.

        It isn't measured from the send time: during a stall, workers wait for responses, and requests that they send
        late would seem fast (coordinated omission).
        """
        return self.ended_s - self.due_s


@dataclass
class Load:
    """A fixed number of requests per second for the duration of the context, at most `max_duration_s`.

    Each request has its own scheduled time, whether or not earlier ones have been answered. If all workers are waiting
    for responses, a due request is sent late; none is left out before the end.
    """

    next: Callable[[], Request]
    """Returns the next request; called by one worker at a time."""

    per_second: float = 10
    max_duration_s: float = 120
    workers: int = 8
    """Maximum number of concurrent requests."""

    samples: list[Sample] = field(default_factory=list)
    """One sample per answered request, in the order in which they ended."""

    @classmethod
    def of(cls, send: Callable[[], Response], per_second: float = 10, max_duration_s: float = 120) -> Self:
        """Return a load that repeats the same request."""
        request = Request(send)
        return cls(lambda: request, per_second, max_duration_s)

    @property
    def succeeded(self) -> int:
        """Return the number of responses below 400 so far."""
        return sum(one.failure is None for one in self.samples)

    @property
    def failures(self) -> list[str]:
        """Return all other results so far, each with its seconds since the start."""
        return [f"{one.sent_s:.2f} s: {one.failure}" for one in self.samples if one.failure is not None]

    def now_s(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._began

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._count = 0
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
                due = self._count / self.per_second
                self._count += 1
            wait = due - self.now_s()
            if due > self.max_duration_s or self._stopped.wait(max(0.0, wait)):
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
        # Appending is atomic: a concurrent reader sees the samples so far.
        self.samples.append(Sample(request.kind, due, sent, self.now_s(), failure))

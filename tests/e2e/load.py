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


@dataclass
class Load:
    """So many requests a second, from the `with` to its end, and never for longer than `at_most_s`.

    Each request begins at its own time, whether or not the one before has been answered; one whose time comes while
    all workers still wait for answers begins late, and nothing is left out before the end.
    """

    ask: Callable[[], Answer]
    """One request."""

    per_second: float = 10
    at_most_s: float = 120
    workers: int = 8
    """Most requests in flight."""

    well: int = 0
    """Answers below 400 so far."""

    failures: list[str] = field(default_factory=list)
    """What else came so far, each with the seconds since the beginning."""

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
            wait = self._began + due - time.monotonic()
            if due > self.at_most_s or self._stopped.wait(max(0.0, wait)):
                return
            self._one()

    def _one(self) -> None:
        begun = time.monotonic() - self._began
        try:
            answer = self.ask()
            reason = None if answer.status < 400 else f"{answer.status} {answer.body[:200]!r}"
        except (OSError, HTTPException) as error:
            reason = repr(error)
        with self._lock:
            if reason is None:
                self.well += 1
            else:
                self.failures.append(f"{begun:.2f} s: {reason}")

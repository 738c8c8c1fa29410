"""Some minutes of user traffic, including failures, for the dashboards."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.e2e.load import Load, Request
from tests.e2e.platform import Platform, Response

SERVICES_BY_TRAFFIC = ("rdv", "rdv", "rdv", "planning", "user", "user", "payment", "notification", "admin", "audit")
"""Services in proportion to their request rates."""

TENANTS = 12
VALID_S = 3600.0


@dataclass
class Traffic:
    """Requests of many kinds, in given proportions, including refused and failed ones."""

    platform: Platform
    booked: list[tuple[str, str, str]] = field(default_factory=list)
    """(token, service, appointment) of appointments that are neither cancelled nor kept."""

    def __post_init__(self) -> None:
        self._random = random.Random(7)  # noqa: S311 - no secret
        self._tokens = [self.platform.token(uuid.uuid4(), expires_in_s=VALID_S) for _ in range(TENANTS)]
        self._kinds: dict[Callable[[], Response], int] = {
            self._listed: 34,
            self._booked: 28,
            self._page: 14,
            self._paid: 10,
            self._cancelled: 6,
            self._honoured: 5,
            self._refused: 2,
            self._slow: 1,
            self._failed: 1,
        }
        """Maps each kind of request to its frequency."""

    def flow(self, seconds: float, per_second: float) -> int:
        """Send a number of requests per second for a duration, and return how many were sent."""
        end = time.monotonic() + seconds
        with Load(self._next, per_second=per_second, max_duration_s=seconds, workers=6) as load:
            while (left := end - time.monotonic()) > 0:
                time.sleep(left)
        return len(load.samples)

    def _next(self) -> Request:
        (kind,) = self._random.choices([*self._kinds], [*self._kinds.values()])
        return Request(kind)

    def _listed(self) -> Response:
        return self.platform.call("GET", f"/api/{self._service()}/appointments", self._token())

    def _booked(self) -> Response:
        token, service = self._token(), self._service()
        new = {"title": "control visit", "starts_at": "2030-01-01T09:00:00Z"}
        answer = self.platform.call("POST", f"/api/{service}/appointments", token, new)
        if answer.status == 201:
            self.booked.append((token, service, answer.json["id"]))
        return answer

    def _cancelled(self) -> Response:
        return self._ended("cancel")

    def _honoured(self) -> Response:
        return self._ended("honour")

    def _ended(self, how: str) -> Response:
        if not self.booked:
            return self._booked()
        token, service, appointment = self.booked.pop(0)
        return self.platform.call("POST", f"/api/{service}/appointments/{appointment}/{how}", token)

    def _paid(self) -> Response:
        # One card in twelve is declined.
        amount = self._random.choice((25, 30, 30, 45, 60, 28, 52, 70, 25, 30, 40, -1))
        return self.platform.call("POST", "/api/payment/payments", self._token(), {"amount_euros": amount})

    def _page(self) -> Response:
        return self.platform.call("GET", "/", host=self._random.choice([*self.platform.frontends.values()]))

    def _refused(self) -> Response:
        return self.platform.call("GET", f"/api/{self._service()}/appointments")

    def _slow(self) -> Response:
        return self.platform.call("GET", "/api/notification/faults/slow?seconds=0.8", self._token())

    def _failed(self) -> Response:
        return self.platform.call("GET", "/api/audit/faults/error", self._token())

    def _token(self) -> str:
        return self._random.choice(self._tokens)

    def _service(self) -> str:
        return self._random.choice(SERVICES_BY_TRAFFIC)

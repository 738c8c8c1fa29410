"""Middleware of every request: correlation ID, one log line, metrics, and no stack trace for the client."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from uuid import uuid4

from .logs import correlation, log
from .metrics import active_requests, method_label, request_duration

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

PROBES = {"/health", "/health/live", "/metrics"}
IDENTIFIER = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class Traffic:
    """Time of the last request, and whether the process is stopping."""

    def __init__(self) -> None:
        self.last_request_at = 0.0
        self.stop_asked_at: float | None = None


class Observe:
    """ASGI middleware. Requests to probes and metrics are neither counted nor logged."""

    def __init__(self, application: Application, traffic: Traffic) -> None:
        self._application = application
        self._traffic = traffic

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        is_probe = scope["path"] in PROBES
        identifier = correlation_id(scope)
        correlation.set(identifier)
        status = 500
        started = time.monotonic()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [(b"x-correlation-id", identifier.encode())]
                if self._traffic.stop_asked_at is not None:
                    added.append((b"connection", b"close"))
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        if not is_probe:
            self._traffic.last_request_at = started
            active_requests.inc()
        try:
            await self._application(scope, receive, answer)
        except Exception:
            # The application has answered with 500 already; see `unexpected` there.
            log.exception("unexpected error")
        finally:
            if not is_probe:
                active_requests.dec()
                self._record(scope, status, time.monotonic() - started)

    def _record(self, scope: Message, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = method_label(scope["method"])
        request_duration.labels(method, str(status), route).observe(seconds)
        fields = {"method": method, "route": route, "status": status, "milliseconds": round(1000 * seconds, 1)}
        log.info("request", extra={"fields": fields})


def correlation_id(scope: Message) -> str:
    """Return the client's `X-Correlation-ID`, or a new one if it is missing or unsafe to log."""
    for name, value in scope["headers"]:
        if name == b"x-correlation-id" and IDENTIFIER.fullmatch(value):
            return str(value.decode())
    return str(uuid4())

"""Run the service until SIGTERM or SIGINT: `python -m reference_service`.

Exit status: 0 after a requested stop; 2 if a variable is missing or invalid.
"""

# mypy: disable-error-code="import-not-found"
# mypy: allow-subclassing-any
from __future__ import annotations

import os
import sys
import time
from types import FrameType

import uvicorn

from . import application, logs
from .observe import Traffic
from .settings import SettingsError, load

IDLE_S = 1
"""Seconds without a new request after which the service stops accepting requests."""

MAX_DRAIN_S = 5
MAX_FINISH_S = 8
"""Maximum time for requests in flight after that. Including closing connections, the stop takes less than 20 s."""


class Server(uvicorn.Server):
    """On a stop signal, keep serving until no new requests arrive, then finish those in flight.

    Plain uvicorn closes its port at once and exits with the signal's status.
    """

    def __init__(self, config: uvicorn.Config, traffic: Traffic) -> None:
        super().__init__(config)
        self._traffic = traffic

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM or SIGINT; a second one ends the drain at once."""
        if self._traffic.stop_asked_at is None:
            self._traffic.stop_asked_at = time.monotonic()
        else:
            self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether to close the port; called ten times per second."""
        asked_at, now = self._traffic.stop_asked_at, time.monotonic()
        if asked_at is not None:
            quiet_since = max(asked_at, self._traffic.last_request_at)
            if now - quiet_since > IDLE_S or now - asked_at > MAX_DRAIN_S:
                self.should_exit = True
        stop: bool = await super().on_tick(counter)
        return stop


def main() -> int:
    """Run the program. Return its exit status."""
    logs.set_up(os.environ.get("SERVICE_NAME", ""), "info")
    try:
        settings = load(os.environ)
    except SettingsError as error:
        logs.log.error("can't start: %s", error)
        return 2
    logs.set_up(settings.service, settings.log_level)
    traffic = Traffic()
    config = uvicorn.Config(
        application.create(settings, traffic),
        host="0.0.0.0",  # noqa: S104 (the container's own network)
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        # Longer than the gateway keeps idle connections, so that the gateway closes them first.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=MAX_FINISH_S,
    )
    server = Server(config, traffic)
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())

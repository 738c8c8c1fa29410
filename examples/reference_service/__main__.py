"""Runs the service until it is asked to stop: `python -m reference_service`.

Exit status: 0 after a stop that was asked for; 2 when a variable is missing or wrong.
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

QUIET_S = 1
"""Seconds without a new request after which nobody seems to send any more."""

LONGEST_DRAIN_S = 5
LONGEST_FINISH_S = 8
"""Requests may take this long after that. With the connections' closing the whole stop stays below 20 s."""


class Server(uvicorn.Server):
    """Asked to stop, it serves on until requests stop coming, then finishes those in flight.

    uvicorn alone closes its port at once, and ends with the signal's status.
    """

    def __init__(self, config: uvicorn.Config, traffic: Traffic) -> None:
        super().__init__(config)
        self._traffic = traffic

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT; a second one cuts the drain short."""
        if self._traffic.stop_asked_at is None:
            self._traffic.stop_asked_at = time.monotonic()
        else:
            self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to close the port."""
        asked_at, now = self._traffic.stop_asked_at, time.monotonic()
        if asked_at is not None:
            quiet_since = max(asked_at, self._traffic.last_request_at)
            if now - quiet_since > QUIET_S or now - asked_at > LONGEST_DRAIN_S:
                self.should_exit = True
        stop: bool = await super().on_tick(counter)
        return stop


def main() -> int:
    """The program; gives its exit status."""
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
        # Longer than a gateway keeps its idle connections, so that it is the one to close them.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=LONGEST_FINISH_S,
    )
    server = Server(config, traffic)
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())

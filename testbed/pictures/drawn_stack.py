"""Bring up a stack on the Docker engine and draw its dashboards.

    python -m testbed.pictures.drawn_stack [--folder docs/images]

The stack has all services, all front ends, and monitoring with the real alert rules. It gets eight minutes
of traffic, in which one service is down for half a minute. Everything is removed afterwards.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from testbed.pictures import draw_all
from tests.e2e import full_stack, monitored_stack
from tests.e2e.full_stack import FRONTEND_IMAGE, FullStack
from tests.e2e.traffic import Traffic
from tests.engine.docker_engine import docker

PHASES = ((60, 3.0), (120, 6.0), (30, 6.0), (120, 4.0), (120, 7.0), (45, 3.0))
"""Duration in seconds, and requests per second, of each phase."""

STOPPED_SERVICE, STOPPED_IN_PHASE = "planning", 2
SCRAPE_INTERVAL_S = 5


def main() -> int:
    """Return exit code 1 if an image is missing."""
    parser = argparse.ArgumentParser(description="Brings up a stack, draws its dashboards, and removes it.")
    parser.add_argument("--folder", type=Path, default=Path("docs/images"), help="default: %(default)s")
    folder = parser.parse_args().folder
    if reason := monitored_stack.lacking_images():
        print(reason, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as home:
        stack = FullStack(Path(home, "stack"), configuration=configuration())
        stack.set_secrets(full_stack.third_party_secrets())
        try:
            stack.up().succeeded()
            pass_traffic(stack)
            minutes = sum(seconds for seconds, _ in PHASES) / 60
            for path in draw_all(str(stack.outputs().monitoring.prometheus), minutes, folder):
                print(path)
        finally:
            stack.remove()
    return 0


def configuration() -> dict[str, Any]:
    """Return a configuration of everything, scraped every five seconds, so that a few minutes give enough points."""
    services = {"deploy": "all", "environment": {"FAULT_INJECTION": "true"}}
    watched = monitored_stack.monitoring(SCRAPE_INTERVAL_S)
    return monitored_stack.watched_stores(services, watched) | {
        "frontends": {"deploy": "all", "image": FRONTEND_IMAGE},
    }


def pass_traffic(stack: FullStack) -> None:
    """Run all phases in order."""
    traffic = Traffic(stack.platform())
    for number, (seconds, per_second) in enumerate(PHASES):
        is_stopped = number == STOPPED_IN_PHASE
        if is_stopped:
            docker("stop", stack.container(STOPPED_SERVICE)["Id"])
        print(f"{traffic.flow(seconds, per_second)} requests in {seconds} s", flush=True)
        if is_stopped:
            docker("start", stack.container(STOPPED_SERVICE)["Id"])


if __name__ == "__main__":
    sys.exit(main())

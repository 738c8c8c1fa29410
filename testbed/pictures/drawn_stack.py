"""Bring up a stack on the Docker engine and draw its dashboards.

    python -m testbed.pictures.drawn_stack [--folder docs/images]

The stack has all seven services, the four front ends, and monitoring with the real alert rules. It gets eight minutes
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
"""Seconds, and requests per second meanwhile."""

AWAY, AWAY_IN_PHASE = "planning", 2
SCRAPE_INTERVAL_S = 5


def main() -> int:
    """Return exit code 1 if an image is missing."""
    parser = argparse.ArgumentParser(description="Draws the dashboards of a stack that is brought up for that.")
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
    """Return a configuration of everything, scraped every five seconds, so that minutes show what hours would."""
    services = {"deploy": "all", "environment": {"FAULT_INJECTION": "true"}}
    watched = monitored_stack.monitoring(SCRAPE_INTERVAL_S)
    return monitored_stack.watched_stores(services, watched) | {
        "frontends": {"deploy": "all", "image": FRONTEND_IMAGE},
    }


def pass_traffic(stack: FullStack) -> None:
    """Run all phases in order."""
    traffic = Traffic(stack.platform())
    for number, (seconds, per_second) in enumerate(PHASES):
        away = number == AWAY_IN_PHASE
        if away:
            docker("stop", stack.container(AWAY)["Id"])
        print(f"{traffic.flow(seconds, per_second)} requests in {seconds} s", flush=True)
        if away:
            docker("start", stack.container(AWAY)["Id"])


if __name__ == "__main__":
    sys.exit(main())

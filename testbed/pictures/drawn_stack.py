"""Draws the dashboards of a stack that it brings up for that, on the Docker engine.

    python -m testbed.pictures.drawn_stack [--folder docs/images]

All seven services, the four front ends, and monitoring with the rules as they are. Eight minutes of traffic pass
through it, in which one service stays away for half a minute. Nothing is left behind.
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
"""Seconds, and requests a second meanwhile."""

AWAY, AWAY_IN_PHASE = "planning", 2
SCRAPE_INTERVAL_S = 5


def main() -> int:
    """Exit code 1 where an image is missing."""
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
    """Everything, watched every five seconds: minutes show what hours would."""
    services = {"deploy": "all", "environment": {"FAULT_INJECTION": "true"}}
    watched = monitored_stack.monitoring(SCRAPE_INTERVAL_S)
    return monitored_stack.watched_stores(services, watched) | {
        "frontends": {"deploy": "all", "image": FRONTEND_IMAGE},
    }


def pass_traffic(stack: FullStack) -> None:
    """Every phase, one after the other."""
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

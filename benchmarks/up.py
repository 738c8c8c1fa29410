"""Time from an empty stack until everything is healthy: `pulumi up`, next to `docker compose up --wait` of the same
rendered stack.

    python -m benchmarks.up [--repetitions 3]

Every repetition uses a new stack with new volumes, and alternates with the baseline. Images are present; the Compose
file is rendered before the measurement.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import machine, show, show_ratio, timed
from operations.render.compose import compose_text_with_tokens
from operations.render.placeholders import Placeholders
from settings import parse
from tests.engine import docker_engine
from tests.engine.configurations import zookeeper_with_tools
from tests.engine.machine import lacking
from tests.engine.pulumi_stack import PulumiStack
from tests.unit.platform_recording import pulumi_config


def main() -> int:
    """Print the results of both and their ratio."""
    parser = argparse.ArgumentParser(description="Times an update from nothing, with Docker Compose as the baseline.")
    parser.add_argument("--repetitions", type=int, default=3, help="of each (default: %(default)s)")
    repetitions = parser.parse_args().repetitions
    if reason := lacking():
        print(reason, file=sys.stderr)
        return 1
    measured, baseline = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repetitions):
            measured.append(by_pulumi(Path(folder, f"pulumi-{number}")))
            baseline.append(by_compose(Path(folder, f"compose-{number}.yaml")))
    print(machine())
    show("pulumi up, from nothing", measured)
    show("docker compose up --wait (floor)", baseline)
    show_ratio(measured, baseline)
    return 0


def by_pulumi(home: Path) -> float:
    """Return the seconds of one `pulumi up` of the whole dev stack."""
    stack = PulumiStack(home, configuration=zookeeper_with_tools())
    try:
        return timed(lambda: stack.up().succeeded())
    finally:
        stack.remove()


def by_compose(file: Path) -> float:
    """Return the seconds of one `docker compose up --wait` of the same stack."""
    name = f"b{secrets.token_hex(3)}"
    file.write_text(rendered(name, zookeeper_with_tools()))
    try:
        return timed(lambda: docker_engine.docker("compose", "--file", str(file), "up", "--wait", "--quiet-pull"))
    finally:
        docker_engine.remove_everything(name)


def rendered(stack: str, configuration: dict[str, Any]) -> str:
    """Return the stack as a Compose file with all secrets filled in."""
    settings = parse(pulumi_config(configuration))
    placeholders = Placeholders.of(settings, ())
    return placeholders.to_compose(compose_text_with_tokens(settings, placeholders, stack))


if __name__ == "__main__":
    sys.exit(main())

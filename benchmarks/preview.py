"""A preview without changes, next to one of an empty program with the same two providers.

    python -m benchmarks.preview [--repetitions 5]

The stack is the dev stack with generated credentials, so that both providers are used. The baseline is the start-up
time of the Pulumi command, Python, the SDKs and the plugins."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.report import machine, show, show_ratio, timed
from operations.project import VENV
from tests.engine.configurations import zookeeper_with_tools
from tests.engine.machine import lacking
from tests.engine.pulumi_stack import PulumiStack

PROJECT = f"""\
name: empty
runtime:
  name: python
  options:
    toolchain: pip
    virtualenv: {VENV}
"""

PROGRAM = """\
import pulumi_docker as docker
import pulumi_random as random

docker.Provider("docker", disable_docker_daemon_check=True)
random.Provider("random")
"""


def main() -> int:
    """Print the results of both and their ratio."""
    parser = argparse.ArgumentParser(description="Times a preview without changes and one of an empty program.")
    parser.add_argument("--repetitions", type=int, default=5, help="of each (default: %(default)s)")
    repetitions = parser.parse_args().repetitions
    if reason := lacking():
        print(reason, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ending:
        program = Path(folder, "empty")
        program.mkdir()
        (program / "Pulumi.yaml").write_text(PROJECT)
        (program / "__main__.py").write_text(PROGRAM)
        empty = PulumiStack(Path(folder, "floor"), program)
        ours = PulumiStack(Path(folder, "ours"), configuration=zookeeper_with_tools() | {"credentials": "generated"})
        ending.callback(ours.remove)
        figures: dict[PulumiStack, list[float]] = {ours: [], empty: []}
        for stack in figures:
            stack.up().succeeded()
        for _ in range(repetitions):
            for stack, seconds in figures.items():
                seconds.append(timed(partial(_quiet_preview, stack)))
    print(machine())
    show("pulumi preview, no changes", figures[ours])
    show("the same of an empty program", figures[empty])
    show_ratio(figures[ours], figures[empty])
    return 0


def _quiet_preview(stack: PulumiStack) -> None:
    stack.preview("--expect-no-changes").succeeded()


if __name__ == "__main__":
    sys.exit(main())

"""A preview without changes, next to a bare program with the same resources and an empty program.

    python -m benchmarks.preview [--repetitions 5]

The stack is the dev stack with generated credentials, so that both providers are used. The bare program registers the
same provider resources and nothing else (`bare_stack.py`): what this project adds is the difference. The empty program
only has the two providers: the start-up time of the Pulumi command, Python, the SDKs and the plugins."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.bare_stack import bare_stack
from benchmarks.report import cpu_s, machine, show, show_ratio, timed
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
        for stack in (ours, empty):
            stack.up().succeeded()
        stacks = {"ours": ours, "bare": bare_stack(Path(folder, "bare"), ours), "empty": empty}
        seconds: dict[str, list[float]] = {name: [] for name in stacks}
        cpu: dict[str, list[float]] = {name: [] for name in stacks}
        for _ in range(repetitions):
            for name, stack in stacks.items():
                used = cpu_s()
                seconds[name].append(timed(partial(_quiet_preview, stack)))
                cpu[name].append(cpu_s() - used)
    print(machine())
    for title, figures in {"pulumi preview, no changes": seconds, "the same, CPU": cpu}.items():
        show(title, figures["ours"])
        for baseline, named in {"bare": "a bare program, same resources", "empty": "an empty program"}.items():
            show(f"of {named}", figures[baseline])
            show_ratio(figures["ours"], figures[baseline])
    return 0


def _quiet_preview(stack: PulumiStack) -> None:
    stack.preview("--expect-no-changes").succeeded()


if __name__ == "__main__":
    sys.exit(main())

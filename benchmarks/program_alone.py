"""One evaluation of the prod stack's program without an engine: `scale.py` runs it in a separate process.

    PTI_BENCHMARK_SERVICES=70 python -m benchmarks.program_alone [--profile]

It prints a line of JSON: the program's CPU time in seconds (including imports), and the number of resources it
registered. The program waits for nothing, so this is also its run time on an idle machine.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import runpy
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.many_services import replace_catalog
from operations.project import ROOT


def main() -> None:
    """Print the figures; with `--profile` also where the time was spent (which makes the figures slower)."""
    parser = argparse.ArgumentParser(description="Evaluates the prod stack's program without an engine.")
    parser.add_argument("--profile", action="store_true", help="also show where the time is spent")
    profiled = parser.parse_args().profile
    replace_catalog()
    profile = cProfile.Profile()
    if profiled:
        profile.enable()
    resources = evaluated()
    profile.disable()
    print(json.dumps({"cpu_s": time.process_time(), "resources": resources}))
    if profiled:
        pstats.Stats(profile, stream=sys.stdout).sort_stats("cumulative").print_stats(50).sort_stats(
            "tottime"
        ).print_stats(30)


def evaluated() -> int:
    """Run the project's `__main__.py` with the recorder; return the number of its resources, including the stack."""
    from benchmarks.prod_without_cluster import configuration_of_prod
    from recording.recorder import record

    raw, secret = configuration_of_prod()
    recording = record(
        lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"),
        mock=_provider_mock,
        raw=raw,
        secret=secret,
        stack="prod",
        preview=True,
    )
    return len(recording.registrations) + 1


def _provider_mock(type_: str, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Stand in for the providers with minimal work: generate passwords, and names for objects without one."""
    computed: dict[str, Any] = {}
    if type_.startswith("kubernetes:"):
        computed["metadata"] = {"name": "unnamed", **inputs["metadata"]}
    elif type_.endswith(":RandomPassword"):
        computed["result"] = "generated"
    return str(inputs.get("name", type_)), computed


if __name__ == "__main__":
    main()

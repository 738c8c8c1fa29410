"""Run the program in the folder `tests:program`: the current one or the last release's."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path

import pulumi

# Exclude this checkout's packages, which would otherwise take precedence over the program's own.
_spec = importlib.util.spec_from_file_location("unawaited", Path(__file__).parents[2] / "unawaited.py")
assert _spec is not None
assert _spec.loader is not None
unawaited = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(unawaited)

program = pulumi.Config("tests").require("program")
sys.path.insert(0, program)
pulumi.runtime.register_stack_transformation(unawaited.wait_for_nothing)
runpy.run_path(f"{program}/__main__.py", run_name="__main__")

"""The project's own program with a longer service catalog."""

from __future__ import annotations

import runpy

from benchmarks.many_services import replace_catalog
from operations.project import ROOT

replace_catalog()
runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")

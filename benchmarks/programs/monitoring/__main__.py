"""The project's own program with a longer service catalog, of which one service runs."""

from __future__ import annotations

import runpy

from benchmarks.many_services import replace_catalog
from operations.project import ROOT

replace_catalog()

from backends import create  # noqa: E402 - it reads the catalog
from benchmarks.stand_in_services import StandInServices  # noqa: E402

create.create_backend = lambda settings, *, stack: StandInServices(
    settings.backend, settings.images, stack=stack, protect=settings.protect
)
runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")

"""A catalog with more services than the platform has. Nothing else is changed."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

from operations.project import ROOT

VARIABLE = "PTI_BENCHMARK_SERVICES"
"""Environment variable with the number of services."""

MODULE = "settings.catalog"
FIRST_PORT = 10_000


def replace_catalog() -> None:
    """Replace the project's catalog with one that has the number of services in the environment.

    Raises:
        RuntimeError: a module has imported the project's catalog already.
    """
    if "settings" in sys.modules:
        raise RuntimeError("the catalog is replaced before anything of the settings is imported")
    catalog = _own_catalog()
    known = catalog.SERVICES
    more = (catalog.Service(f"service{number}", FIRST_PORT + number) for number in range(len(known), number_wanted()))
    catalog.SERVICES = (*known, *more)
    sys.modules[MODULE] = catalog


def number_wanted() -> int:
    """Return the number of services in the environment."""
    return int(os.environ[VARIABLE])


def _own_catalog() -> Any:
    """Load the module from its file: importing it by name would import its package first, which reads the catalog."""
    found = importlib.util.spec_from_file_location(MODULE, ROOT / "settings" / "catalog.py")
    if found is None or found.loader is None:
        raise RuntimeError(f"{MODULE} can't be loaded")
    module = importlib.util.module_from_spec(found)
    # The module's dataclasses look up their module in `sys.modules`.
    sys.modules[MODULE] = module
    found.loader.exec_module(module)
    return module

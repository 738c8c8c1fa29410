"""The order of the modules that share one stack on the test cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from operations.project import ROOT
from tests.e2e.kubernetes import conftest

FOLDER = ROOT / "tests/e2e/kubernetes"


def item(name: str, *fixtures: str, module: str) -> Any:
    """Return a test of a module that uses these fixtures."""
    return SimpleNamespace(name=name, path=FOLDER / module, fixturenames=fixtures)


def test_modules_with_own_stacks_enclose_those_with_the_shared_stack() -> None:
    items = [
        item("breaks", "small_stack", module="test_by_hand.py"),
        item("checks", module="test_by_hand.py"),
        item("scales", "stack", module="test_prod_autoscaler.py"),
        item("fails over", "stack", module="test_prod_cloudnativepg.py"),
        item("starts", "stack", module="test_prod_stack.py"),
    ]

    conftest.pytest_collection_modifyitems(cast(Any, items))

    assert [one.name for one in items] == ["fails over", "scales", "starts", "breaks", "checks"]


def test_the_modules_that_run_first_exist() -> None:
    assert [name for name in conftest.FIRST_MODULES if not (FOLDER / name).is_file()] == []

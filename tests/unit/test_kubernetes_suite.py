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


def test_fewer_pods_run_at_the_beginning_and_the_shared_stack_is_removed_at_the_end() -> None:
    node, stack = "test_cluster", ("test_cluster", "stack")
    items = [
        item("breaks", *stack, "small_stack", module="test_by_hand.py"),
        item("checks", module="test_by_hand.py"),
        item("scales", *stack, module="test_prod_autoscaler.py"),
        item("fails over", node, module="test_prod_cloudnativepg.py"),
        item("recovers", *stack, "few_workloads", module="test_prod_rollouts.py"),
        item("starts", *stack, module="test_prod_stack.py"),
        item("validates", "server", module="test_strict_validation.py"),
        item("upgrades", *stack, module="test_upgrade.py"),
    ]

    conftest.pytest_collection_modifyitems(cast(Any, items))

    assert [one.name for one in items] == [
        "validates",
        "fails over",
        "upgrades",
        "recovers",
        "scales",
        "starts",
        "breaks",
        "checks",
    ]


def test_the_modules_that_run_first_exist() -> None:
    assert [name for name in conftest.FIRST_MODULES if not (FOLDER / name).is_file()] == []

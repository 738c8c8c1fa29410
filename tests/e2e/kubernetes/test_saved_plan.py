"""A saved plan (`pulumi preview --save-plan`) is carried out on another machine (`pulumi up --plan`).

The API server is real but has no controllers. Both machines can reach it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from testbed import cluster
from tests.e2e.kubernetes.test_ownership import OwnStack

CHANGES: Mapping[str, Mapping[str, str]] = {
    "creation": {},
    "replacement of a StatefulSet": {"policy": "OrderedReady"},
    "update of a Deployment": {"release": "2"},
}


@pytest.fixture
def stack(api_server: cluster.Cluster, tmp_path: Path) -> Iterator[OwnStack]:
    """A stack of the small program in its own namespace."""
    made = OwnStack(tmp_path / "stack", api_server, f"plan-{tmp_path.parent.name}")
    yield made
    made.remove()


def test_a_saved_plan_runs_on_another_machine(stack: OwnStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tmp_path / "plan.json"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    plugins = Path.home() / ".pulumi"
    for change, values in CHANGES.items():
        stack.configure(values)
        stack.preview("--save-plan", str(plan)).succeeded()
        carried = shutil.move(plan, elsewhere / "plan.json")
        with monkeypatch.context() as other_machine:
            other_machine.setenv("HOME", str(elsewhere))
            other_machine.setenv("PULUMI_HOME", str(plugins))
            outcome = stack.up("--plan", str(carried))
        assert outcome.code == 0, f"{change}: {outcome.output}"
        assert outcome.changes != [], change
        stack.preview("--expect-no-changes").succeeded()

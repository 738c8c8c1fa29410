"""A saved plan (`pulumi preview --save-plan`) is carried out on another machine (`pulumi up --plan`).

The API server is real but has no controllers.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
import yaml

from testbed import cluster
from tests.e2e.kubernetes import silent_server
from tests.e2e.kubernetes.test_ownership import OwnStack

CHANGES: Mapping[str, Mapping[str, str]] = {
    "creation": {},
    "replacement of a StatefulSet": {"policy": "OrderedReady"},
    "update of a Deployment": {"release": "2"},
}


@contextmanager
def without_kubeconfig(kubeconfig: Path) -> Iterator[None]:
    """The machine has no kubeconfig file."""
    renamed = kubeconfig.with_suffix(".moved")
    kubeconfig.rename(renamed)
    try:
        yield
    finally:
        renamed.rename(kubeconfig)


@contextmanager
def without_network(kubeconfig: Path) -> Iterator[None]:
    """The network drops the packets of this machine to the API server."""
    document = yaml.safe_load(kubeconfig.read_text())
    with without_kubeconfig(kubeconfig), silent_server.accepts_nothing() as port:
        document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        kubeconfig.write_text(yaml.safe_dump(document))
        yield


def complete(kubeconfig: Path) -> AbstractContextManager[None]:
    """The machine reaches the API server."""
    del kubeconfig
    return nullcontext()


FIRST_MACHINES: Mapping[str, Callable[[Path], AbstractContextManager[None]]] = {
    "everything": complete,
    "no kubeconfig": without_kubeconfig,
    "no network": without_network,
}
"""What the machine that saves the plan has or lacks."""


@pytest.fixture
def stack(api_server: cluster.Cluster, tmp_path: Path) -> Iterator[OwnStack]:
    """A stack of the small program in its own namespace, with its own copy of the kubeconfig."""
    kubeconfig = Path(shutil.copy(api_server.kubeconfig, tmp_path / "kubeconfig"))
    made = OwnStack(tmp_path / "stack", api_server, f"plan-{tmp_path.name}".replace("_", "-").lower())
    made.configure({"kubeconfig": str(kubeconfig)})
    yield made
    made.remove()


@pytest.mark.parametrize("first_machine", FIRST_MACHINES)
def test_a_saved_plan_runs_on_another_machine(
    stack: OwnStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_machine: str
) -> None:
    plan = tmp_path / "plan.json"
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    plugins = Path.home() / ".pulumi"
    # Without a network, the provider waits for a minute in each preview.
    changes = ["creation"] if first_machine == "no network" else [*CHANGES]
    for change, values in ((one, CHANGES[one]) for one in changes):
        stack.configure(values)
        with FIRST_MACHINES[first_machine](tmp_path / "kubeconfig"):
            stack.preview("--save-plan", str(plan)).succeeded()
        carried = shutil.move(plan, folder / "plan.json")
        with monkeypatch.context() as other_machine:
            other_machine.setenv("HOME", str(folder))
            other_machine.setenv("PULUMI_HOME", str(plugins))
            outcome = stack.up("--plan", str(carried))
        assert outcome.code == 0, f"{change}: {outcome.output}"
        assert outcome.changes != [], change
        stack.preview("--expect-no-changes").succeeded()

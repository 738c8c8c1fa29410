"""No update replaces a data volume with an empty one, or changes a setting that is incompatible with its data."""

from __future__ import annotations

import itertools

import pytest

from tests.engine import docker_engine
from tests.engine.conftest import MakeStack
from tests.engine.docker_engine import docker
from tests.engine.pulumi_stack import PulumiStack
from tests.engine.small_programs import WORKLOADS
from tests.failures import FailureRecord

RELEASES = itertools.count(2)
"""Values of `release`: each new one causes an update that replaces the container."""


@pytest.fixture(scope="module")
def stack(make_shared_stack: MakeStack) -> PulumiStack:
    """The workload `keeper`, running with its volume. Tests leave it healthy."""
    made = make_shared_stack(program=WORKLOADS, configuration={"scenario": "keeper"})
    made.up().succeeded()
    return made


def test_a_setting_that_data_depends_on_cannot_change(stack: PulumiStack, failure_record: FailureRecord) -> None:
    effect = "preview and update refuse it and name the setting to restore"
    failure_record.begin("A setting changes that existing data depends on", on="Docker", effect=effect)
    stack.preview("--expect-no-changes").succeeded()
    stack.configure({"layout": "columns"})

    for refused in (stack.preview().failed(), stack.up().failed()):
        assert "keeper.layout can't change from 'rows' to 'columns'" in refused.output
        assert "Put the layout back." in refused.output
        assert "Traceback" not in refused.output
    assert docker_engine.workloads(stack.name) == {"keeper": "healthy"}

    stack.configure({"layout": "rows"})
    stack.preview("--expect-no-changes").succeeded()
    failure_record.set_lost("nothing: the store keeps running")


def test_a_missing_volume_is_not_created_again(stack: PulumiStack, failure_record: FailureRecord) -> None:
    """`test_repairs.py` does the same with a refresh."""
    effect = "preview and update refuse to start with an empty one and describe how to restore it"
    failure_record.begin("The volume of a store is removed by hand", on="Docker", effect=effect)
    volume = f"pti-keeper-data-{stack.name}"
    docker("rm", "--force", f"pti-keeper-{stack.name}")
    docker("volume", "rm", volume)
    stack.configure({"release": str(next(RELEASES))})

    for refused in (stack.preview().failed(), stack.up().failed()):
        assert f"The volume '{volume}' with this stack's data is missing." in refused.output
        assert "docs/stores.md#a-claim-or-volume-is-missing" in refused.output
        assert "Traceback" not in refused.output
        assert docker_engine.persistent_volumes(stack.name) == set()

    # A restored volume is adopted unchanged.
    docker("volume", "create", "--label", f"pti-calendar.stack={stack.name}", volume)
    with failure_record.measure_recovery():
        stack.up().succeeded()
    assert docker_engine.workloads(stack.name) == {"keeper": "healthy"}
    failure_record.set_lost("the data on the volume; a restored volume is used unchanged")


def test_an_operator_can_start_with_an_empty_volume(stack: PulumiStack) -> None:
    docker("rm", "--force", f"pti-keeper-{stack.name}")
    docker("volume", "rm", f"pti-keeper-data-{stack.name}")
    stack.configure({"release": str(next(RELEASES))})
    stack.forget(stack.up().record())

    stack.up().succeeded()

    assert docker_engine.persistent_volumes(stack.name) == {f"pti-keeper-data-{stack.name}"}
    stack.preview("--expect-no-changes").succeeded()


def test_an_operator_can_confirm_that_the_data_was_converted(stack: PulumiStack) -> None:
    """This test must run last, because it changes the layout of the stack's data."""
    stack.configure({"layout": "columns"})
    stack.forget(stack.preview().record())

    stack.up().succeeded()

    stack.preview("--expect-no-changes").succeeded()

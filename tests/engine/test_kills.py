"""One `up` completes an update, a removal or a creation that was killed at a random moment.

This uses a few small workloads; `tests/e2e/test_full_docker_kills.py` uses the whole platform and twenty moments.
"""

from __future__ import annotations

from itertools import cycle

from tests.engine import docker_engine, kills
from tests.engine.conftest import MakeStack
from tests.engine.docker_engine import docker
from tests.engine.small_programs import WORKLOADS
from tests.failures import FailureRecord

DATA_FILE = "/data/kept"


def test_one_up_completes_an_operation_killed_at_any_moment(
    make_stack: MakeStack, failure_record: FailureRecord
) -> None:
    stack = make_stack(program=WORKLOADS, configuration={"scenario": "of each kind"})
    created = stack.up().succeeded()
    keeper = f"pti-keeper-{stack.name}"
    docker("exec", keeper, "sh", "-c", f"echo before > {DATA_FILE}")
    releases = cycle(["2", "1"])
    killed = kills.Killed(
        stack,
        created,
        change=lambda: stack.configure({"release": next(releases)}),
        empty=lambda: stack.destroy().succeeded(),
    )

    for kill in kills.drawn(len(kills.OPERATIONS)):
        title = f"Pulumi is killed during {kill.operation_with_article}, at a random moment"
        failure_record.begin(title, on="Docker", effect=kills.EFFECT)
        with failure_record.measure_recovery():
            killed.converges(kill)
        assert docker_engine.workloads(stack.name).keys() == {"store", "keeper", "preparation", "reader"}
        assert docker_engine.long_running(stack.name) == dict.fromkeys(("store", "keeper", "reader"), "healthy")
        assert docker("exec", keeper, "cat", DATA_FILE) == "before\n"
        failure_record.set_lost("nothing")

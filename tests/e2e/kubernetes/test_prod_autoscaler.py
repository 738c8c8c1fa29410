"""A service of the prod stack gets an autoscaler and loses it again, under load."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any, NamedTuple

import pytest

from tests.e2e.kubernetes.stack import ClusterStack
from tests.e2e.kubernetes.under_load import under_load
from tests.engine.waiting import until
from tests.failures import FailureRecord

SERVICE = "rdv"
FIXED, LEAST, MOST = 4, 3, 6
POOL_MAX = 3
"""Connections of each pod. With the default, PostgreSQL would have to accept more of them for six pods."""


class Replicas(NamedTuple):
    """The number of pods that a Deployment should have, and the number that are available."""

    wanted: int
    available: int


@pytest.fixture(scope="module", autouse=True)
def up(stack: ClusterStack) -> Iterator[None]:
    """The stack, up, with a fixed number of replicas of the service."""
    with stack.temporary_configuration():
        change(stack, replicas=FIXED, databasePoolMax=POOL_MAX)
        stack.up().succeeded()
        yield


def change(stack: ClusterStack, **overrides: Any) -> None:
    """Change the service's own settings."""
    stack.change({"services": {"overrides": {SERVICE: overrides}}})


@pytest.mark.parametrize("scaled_to", [MOST, LEAST])
def test_a_service_gets_and_loses_an_autoscaler_without_losing_a_pod(
    stack: ClusterStack, scaled_to: int, failure_record: FailureRecord
) -> None:
    title = f"A service with {FIXED} replicas gets an autoscaler, which sets {scaled_to}, and loses it"
    failure_record.begin(title, on="Kubernetes", effect="nothing")
    with replicas_of(stack) as seen, under_load(stack, failure_record, services=(SERVICE,)) as load:
        change(stack, replicas=None, scaling={"minReplicas": LEAST, "maxReplicas": MOST})
        to_autoscaler = stack.up().succeeded()
        assert "doesn't serve metrics.k8s.io" in to_autoscaler.output
        (autoscaler,) = stack.objects("horizontalpodautoscalers")
        assert (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]) == (LEAST, MOST)

        # Without metrics, the autoscaler keeps the number of replicas, so set the number that a load would cause.
        stack.kubectl("scale", f"deployment/{SERVICE}", f"--replicas={scaled_to}")
        until(f"{scaled_to} pods are ready", lambda: len(stack.pods(SERVICE)) == scaled_to and stack.all_ready())
        stack.preview("--expect-no-changes").succeeded()
        change(stack, replicas=FIXED, scaling=None)
        stack.up().succeeded()
        until(f"{FIXED} pods are left", lambda: len(stack.every_pod(SERVICE)) == FIXED)

    assert stack.objects("horizontalpodautoscalers") == []
    assert [wanted for wanted, _ in groupby(seen, key=lambda one: one.wanted)] == [FIXED, scaled_to, FIXED]
    assert min(one.available for one in seen) == min(FIXED, scaled_to)
    assert load.failures == []
    stack.preview("--expect-no-changes").succeeded()


@contextmanager
def replicas_of(stack: ClusterStack) -> Iterator[list[Replicas]]:
    """Record each change of the service's replicas meanwhile, in order."""
    seen: list[Replicas] = []
    fields = "{.spec.replicas} {.status.availableReplicas}{'\\n'}"
    arguments = ("get", f"deployment/{SERVICE}", "--watch", f"--output=jsonpath={fields}")
    with subprocess.Popen([*stack.namespaced(), *arguments], stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None

        def read() -> None:
            for line in watching.stdout or ():
                wanted, _, available = line.strip().partition(" ")
                seen.append(Replicas(int(wanted), int(available or 0)))

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        try:
            until("the current number is known", lambda: seen)
            yield seen
        finally:
            watching.terminate()
            reading.join()

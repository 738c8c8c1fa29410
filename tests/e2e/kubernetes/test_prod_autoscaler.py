"""A service of the prod stack gets an autoscaler and loses it again, under traffic."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.kubernetes.stack import ClusterStack
from tests.e2e.load import Load
from tests.engine.waiting import until


def test_switching_the_autoscaler_on_and_off_loses_no_pod(stack: ClusterStack) -> None:
    stack.change({"services": {"overrides": {"rdv": {"replicas": 2}}}})
    stack.up().succeeded()
    token, platform = stack.platform().token(), stack.platform()
    with (
        replicas_of(stack, "rdv") as numbers,
        Load.of(lambda: platform.call("GET", "/api/rdv/public/info", token), per_second=8, max_duration_s=300) as load,
    ):
        stack.change(
            {"services": {"overrides": {"rdv": {"replicas": None, "scaling": {"minReplicas": 2, "maxReplicas": 3}}}}}
        )
        to_autoscaler = stack.up().succeeded()
        assert "doesn't serve metrics.k8s.io" in to_autoscaler.output
        assert len(stack.objects("horizontalpodautoscalers")) == 1

        # As the autoscaler does under load, and then back to the old number.
        stack.kubectl("scale", "deployment/rdv", "--replicas=3")
        until("three pods are ready", lambda: len(stack.pods("rdv")) == 3 and stack.all_ready())
        stack.preview("--expect-no-changes").succeeded()
        stack.change({"services": {"overrides": {"rdv": {"replicas": 2, "scaling": None}}}})
        stack.up().succeeded()
        until("two pods are left", lambda: len(stack.pods("rdv")) == 2)

    assert stack.objects("horizontalpodautoscalers") == []
    assert min(numbers) == 2, numbers
    assert set(numbers) == {2, 3}
    assert load.failures == []
    print(f"{load.well} requests answered, replicas {numbers}")
    stack.preview("--expect-no-changes").succeeded()


@contextmanager
def replicas_of(stack: ClusterStack, deployment: str) -> Iterator[list[int]]:
    """Record each replica count that a Deployment is given meanwhile, in order."""
    numbers: list[int] = []
    arguments: tuple[Any, ...] = (
        "get",
        f"deployment/{deployment}",
        "--watch",
        "--output=jsonpath={.spec.replicas}{'\\n'}",
    )
    with subprocess.Popen([*stack.namespaced(), *arguments], stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        reading = threading.Thread(target=lambda: numbers.extend(map(int, watching.stdout or ())), daemon=True)
        reading.start()
        try:
            until("the current number is known", lambda: numbers)
            yield numbers
        finally:
            watching.terminate()
            reading.join()

"""Rollouts of the prod stack that can't succeed: the update reports the reason, and the next one recovers.

The tests build on each other and run in file order; each leaves the stack healthy.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.counted import counted
from tests.e2e.kubernetes.configuration import SERVICE_IMAGE
from tests.e2e.kubernetes.stack import ClusterStack
from tests.e2e.kubernetes.under_load import under_load
from tests.engine.waiting import until
from tests.failures import Tried

TENANT = uuid.uuid4()
BOOKING_TITLE = "kept through every broken rollout"
PULL_REASONS = ("ImagePullBackOff", "ErrImagePull")
MISSING_TAG = "99.9.9"
REPORTED_WITHIN_S = 120
"""Seconds within which a problem must be reported: less than a quarter of the time that three brokers may take."""

BROKEN_BROKERS = {
    "a JVM option that doesn't exist": (
        "-XX:+NoSuchOption",
        "CrashLoopBackOff",
        "Unrecognized VM option 'NoSuchOption'",
    ),
    "more heap than memory": ("-Xms2g -Xmx2g -XX:+AlwaysPreTouch", "OOMKilled", "it used all of its"),
}
"""JVM options of a broker that can't start, and the reason and the message that the update reports."""

QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "no-more-pods"},
    "spec": {"hard": {"count/pods": "1"}},
}


@pytest.fixture(scope="module", autouse=True)
def _row(few_workloads: ClusterStack) -> None:
    """A row that must still exist at the end."""
    assert few_workloads.platform().book(TENANT, title=BOOKING_TITLE).status == 201


def test_a_store_without_its_image_is_reported_each_time_and_recovers(stack: ClusterStack, tried: Tried) -> None:
    notice = "nothing: bookings are read from the database; the update fails with pod and reason"
    tried.failure("Redis' image can't be pulled", on="Kubernetes", notice=notice)
    with counted(stack.platform(), tried) as load, tried.until_well():
        with stack.temporary_configuration():
            stack.change({"redis": {"image": f"redis:{MISSING_TAG}"}})
            failed = stack.up().failed()
            named(failed.output, "redis", "pod redis-0, container redis", PULL_REASONS)
            # The cause isn't fixed yet.
            named(stack.up().failed().output, "redis", "pod redis-0, container redis", PULL_REASONS)
        stack.up().succeeded()
        until("every pod is ready", stack.all_ready)
    assert load.failures == []
    assert BOOKING_TITLE in stack.platform().titles(TENANT)
    tried.lost("nothing")
    stack.preview("--expect-no-changes").succeeded()


@pytest.mark.parametrize("mistake", BROKEN_BROKERS)
def test_a_store_with_a_wrong_setting_is_reported_and_recovers(stack: ClusterStack, mistake: str, tried: Tried) -> None:
    options, reason, message = BROKEN_BROKERS[mistake]
    notice = "the update fails with pod and reason; the other brokers keep serving"
    tried.failure(f"Kafka gets {mistake}", on="Kubernetes", notice=notice)
    before = stack.identities()
    with under_load(stack, tried) as load, tried.until_well():
        with stack.temporary_configuration():
            stack.change({"kafka": {"jvmOptions": options}})
            failed = stack.up().failed()
        stack.up().succeeded()
        until("every pod is ready", stack.all_ready)
    named(failed.output, "kafka", "pod kafka-2, container kafka", (reason,))
    assert message in failed.output
    seconds = re.search(r"kafka isn't ready after (\d+) s", failed.output)
    assert seconds
    assert int(seconds[1]) < REPORTED_WITHIN_S
    assert load.failures == []
    after = stack.identities()
    assert {name for name, uid in after.items() if before.get(name) != uid} == {"kafka-2"}
    stack.preview("--expect-no-changes").succeeded()


def test_a_task_without_its_image_leaves_its_service_unchanged(stack: ClusterStack, tried: Tried) -> None:
    tried.failure("A release's image can't be pulled", on="Kubernetes", notice="nothing: the old pods keep serving")
    before = stack.identities()
    with stack.temporary_configuration():
        stack.change({"services": {"overrides": {"rdv": {"image": f"pti-calendar/reference-service:{MISSING_TAG}"}}}})
        with serving(stack, tried):
            failed = stack.up().failed()
    named(failed.output, "rdv-migrations", "pod rdv-migrations-", PULL_REASONS)
    with tried.until_well():
        stack.up().succeeded()
    assert stack.identities() == before
    tried.lost("nothing")
    stack.preview("--expect-no-changes").succeeded()


def test_a_crash_loop_is_reported_with_its_last_log_lines(stack: ClusterStack, tried: Tried) -> None:
    tried.failure("A release crashes at start", on="Kubernetes", notice="nothing: the old pods keep serving")
    before = stack.identities()
    with stack.temporary_configuration():
        # Run a service without any of its variables.
        stack.change({"frontends": {"overrides": {"clientPwa": {"image": SERVICE_IMAGE}}}})
        with serving(stack, tried):
            failed = stack.up().failed()
    named(failed.output, "client-pwa", ", container client-pwa", ("CrashLoopBackOff",))
    assert "can't start: SERVICE_NAME is not set" in failed.output
    with tried.until_well():
        stack.up().succeeded()
    assert stack.identities() == before
    tried.lost("nothing")
    stack.preview("--expect-no-changes").succeeded()


def test_an_exceeded_quota_is_reported(stack: ClusterStack, tried: Tried) -> None:
    tried.failure("A quota doesn't allow a new pod", on="Kubernetes", notice="nothing: the old pods keep serving")
    stack.kubectl("apply", "--filename=-", input=json.dumps(QUOTA))
    try:
        stack.change({"frontends": {"overrides": {"clientPwa": {"memoryMib": 72}}}})
        with serving(stack, tried):
            failed = stack.up().failed()
        assert "exceeded quota: no-more-pods" in failed.output
    finally:
        stack.kubectl("delete", "resourcequota", "no-more-pods")
    with tried.until_well():
        stack.up().succeeded()
    tried.lost("nothing")
    stack.preview("--expect-no-changes").succeeded()


def test_a_preview_names_a_missing_operator(stack: ClusterStack) -> None:
    before = stack.identities()
    with stack.temporary_configuration():
        stack.change({"gateway": {"tls": {"source": "cert-manager", "issuer": "any"}}})
        refused = stack.preview().failed()
    assert "Install or upgrade cert-manager" in refused.output
    assert stack.identities() == before


def named(output: str, workload: str, where: str, reasons: tuple[str, ...]) -> None:
    """Check that the error names the workload, its pod and container, and one of the reasons."""
    errors = output[output.index(f"{workload} isn't ready after") :]
    assert where in errors
    assert any(reason in errors for reason in reasons), errors
    assert "docs/runbook.md#a-rollout-fails" in errors


@contextmanager
def serving(stack: ClusterStack, tried: Tried) -> Iterator[None]:
    """Send requests for the duration of the context; none may fail."""
    with counted(stack.platform(), tried) as load:
        yield
    assert load.well > 0
    assert load.failures == []

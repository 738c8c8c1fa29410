"""Rollouts of the prod stack that can't succeed: the update reports the reason, and the next one recovers.

Each test can run alone and leaves the stack healthy.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.counted import counted
from tests.e2e.kubernetes.configuration import SERVICE_IMAGE
from tests.e2e.kubernetes.reported import PULL_REASONS, assert_reported
from tests.e2e.kubernetes.stack import ClusterStack
from tests.engine.waiting import until
from tests.failures import FailureRecord

TENANT = uuid.uuid4()
BOOKING_TITLE = "kept through every broken rollout"
MISSING_TAG = "99.9.9"

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


def test_a_store_without_its_image_is_reported_each_time_and_recovers(
    stack: ClusterStack, failure_record: FailureRecord
) -> None:
    effect = "nothing: bookings are read from the database; the update fails and names the pod and the reason"
    failure_record.begin("Redis' image can't be pulled", on="Kubernetes", effect=effect)
    with counted(stack.platform(), failure_record) as load, failure_record.measure_recovery():
        with stack.temporary_configuration():
            stack.change({"redis": {"image": f"redis:{MISSING_TAG}"}})
            failed = stack.up().failed()
            assert_reported(failed.output, "redis", "pod redis-0, container redis", PULL_REASONS)
            # The cause isn't fixed yet.
            assert_reported(stack.up().failed().output, "redis", "pod redis-0, container redis", PULL_REASONS)
        stack.up().succeeded()
        until("every pod is ready", stack.all_ready)
    assert load.failures == []
    assert BOOKING_TITLE in stack.platform().titles(TENANT)
    failure_record.set_lost("nothing")
    stack.preview("--expect-no-changes").succeeded()


def test_a_task_without_its_image_leaves_its_service_unchanged(
    stack: ClusterStack, failure_record: FailureRecord
) -> None:
    failure_record.begin(
        "A release's image can't be pulled", on="Kubernetes", effect="nothing: the old pods keep serving"
    )
    before = stack.identities()
    with stack.temporary_configuration():
        stack.change({"services": {"overrides": {"rdv": {"image": f"pti-calendar/reference-service:{MISSING_TAG}"}}}})
        with serving(stack, failure_record):
            failed = stack.up().failed()
    assert_reported(failed.output, "rdv-migrations", "pod rdv-migrations-", PULL_REASONS)
    with failure_record.measure_recovery():
        stack.up().succeeded()
    assert stack.identities() == before
    failure_record.set_lost("nothing")
    stack.preview("--expect-no-changes").succeeded()


@pytest.mark.parametrize(
    ("failure", "image", "reasons", "message"),
    [
        ("A front end's image can't be pulled", f"pti-calendar/reference-frontend:{MISSING_TAG}", PULL_REASONS, ""),
        # A service without any of its variables.
        ("A release crashes at start", SERVICE_IMAGE, ("CrashLoopBackOff",), "can't start: SERVICE_NAME is not set"),
    ],
    ids=["missing image", "crash loop"],
)
def test_a_release_that_fails_is_reported_and_the_old_pods_keep_serving(
    stack: ClusterStack, failure_record: FailureRecord, failure: str, image: str, reasons: tuple[str, ...], message: str
) -> None:
    failure_record.begin(failure, on="Kubernetes", effect="nothing: the old pods keep serving")
    before = stack.identities()
    with stack.temporary_configuration():
        stack.change({"frontends": {"overrides": {"clientPwa": {"image": image}}}})
        with serving(stack, failure_record):
            failed = stack.up().failed()
    assert_reported(failed.output, "client-pwa", ", container client-pwa", reasons)
    assert message in failed.output
    with failure_record.measure_recovery():
        stack.up().succeeded()
    assert stack.identities() == before
    failure_record.set_lost("nothing")
    stack.preview("--expect-no-changes").succeeded()


def test_an_exceeded_quota_is_reported(stack: ClusterStack, failure_record: FailureRecord) -> None:
    failure_record.begin(
        "A quota doesn't allow a new pod", on="Kubernetes", effect="nothing: the old pods keep serving"
    )
    stack.kubectl("apply", "--filename=-", input=json.dumps(QUOTA))
    try:
        stack.change({"frontends": {"overrides": {"clientPwa": {"memoryMib": 72}}}})
        with serving(stack, failure_record):
            failed = stack.up().failed()
        assert "exceeded quota: no-more-pods" in failed.output
    finally:
        stack.kubectl("delete", "resourcequota", "no-more-pods")
    with failure_record.measure_recovery():
        stack.up().succeeded()
    failure_record.set_lost("nothing")
    stack.preview("--expect-no-changes").succeeded()


def test_a_preview_names_a_missing_operator(stack: ClusterStack) -> None:
    before = stack.identities()
    with stack.temporary_configuration():
        stack.change({"gateway": {"tls": {"source": "cert-manager", "issuer": "any"}}})
        refused = stack.preview().failed()
    assert "Install or upgrade cert-manager" in refused.output
    assert stack.identities() == before


@contextmanager
def serving(stack: ClusterStack, failure_record: FailureRecord) -> Iterator[None]:
    """Send requests for the duration of the context; none may fail."""
    with counted(stack.platform(), failure_record) as load:
        yield
    assert load.succeeded > 0
    assert load.failures == []

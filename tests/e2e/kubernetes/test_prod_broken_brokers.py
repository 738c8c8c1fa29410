"""Brokers that can't start with their new settings: the update reports the reason, and the next one recovers."""

from __future__ import annotations

import pytest

from tests.e2e.kubernetes.reported import assert_reported
from tests.e2e.kubernetes.stack import ClusterStack
from tests.e2e.kubernetes.under_load import under_load
from tests.engine.waiting import until
from tests.failures import FailureRecord

MISTAKES = {
    "a JVM option that doesn't exist": (
        "-XX:+NoSuchOption",
        "CrashLoopBackOff",
        "Unrecognized VM option 'NoSuchOption'",
    ),
    "more heap than memory": ("-Xms2g -Xmx2g -XX:+AlwaysPreTouch", "OOMKilled", "it used all of its"),
}
"""JVM options of a broker that can't start, and the reason and the message that the update reports."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_brokers_with_wrong_options_are_reported_and_recover(
    few_workloads: ClusterStack, mistake: str, failure_record: FailureRecord
) -> None:
    stack = few_workloads
    options, reason, message = MISTAKES[mistake]
    effect = "the update fails and names the pod and the reason; the other brokers keep serving"
    failure_record.begin(f"Kafka gets {mistake}", on="Kubernetes", effect=effect)
    before = stack.identities()
    with under_load(stack, failure_record) as load, failure_record.measure_recovery():
        with stack.temporary_configuration():
            stack.change({"kafka": {"jvmOptions": options}})
            failed = stack.up().failed()
        stack.up().succeeded()
        until("every pod is ready", stack.all_ready)
    assert_reported(failed.output, "kafka", "pod kafka-2, container kafka", (reason,))
    assert message in failed.output
    assert load.failures == []
    after = stack.identities()
    assert {name for name, uid in after.items() if before.get(name) != uid} == {"kafka-2"}
    stack.preview("--expect-no-changes").succeeded()

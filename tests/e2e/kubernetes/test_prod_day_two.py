"""Changes of a running prod stack: releases, losses, failures, kills, destruction and recreation.

Each test can run alone and leaves the stack healthy.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from settings.catalog import SERVICES
from tests.e2e.bookings import Bookings, stored
from tests.e2e.counted import counted
from tests.e2e.kubernetes import configuration
from tests.e2e.kubernetes.pods import port_forward
from tests.e2e.kubernetes.stack import NAMESPACE, ClusterStack
from tests.e2e.load import Load
from tests.engine.event_log import Step
from tests.engine.pulumi_stack import Outcome
from tests.engine.waiting import until
from tests.failures import FailureRecord

LOW_RATE_LIMIT = 20
"""Limit in requests per minute."""

LAST_LINES = ("reading the old tables", "the old tables are locked")
FAILING_MIGRATION = ["python", "-c", f"import sys; print({LAST_LINES[0]!r}); print({LAST_LINES[1]!r}); sys.exit(3)"]
RETAINED_TITLE = "kept through everything"
TENANT = uuid.uuid4()

LOSSES: dict[str, tuple[str, ...]] = {
    "a pod of a service": ("--selector", "app.kubernetes.io/name=user"),
    "the database": ("postgres-0",),
    "a broker, killed": ("kafka-1", "--grace-period=0", "--force"),
    "the cache": ("redis-0",),
    "the gateway": ("--selector", "app.kubernetes.io/name=kong"),
}
"""Ways to delete pods."""


@pytest.fixture(scope="module", autouse=True)
def up(stack: ClusterStack) -> None:
    """The stack in the module's initial state, with a row that must still exist at the end."""
    stack.up().succeeded()
    assert stack.platform().book(TENANT, title=RETAINED_TITLE).status == 201


def test_a_release_only_changes_its_service_and_fails_no_request(
    stack: ClusterStack, failure_record: FailureRecord
) -> None:
    failure_record.begin("A service is released", on="Kubernetes", effect="nothing")
    platform, before = stack.platform(), stack.identities()
    token = platform.token()
    stack.change({"services": {"overrides": {"rdv": {"image": configuration.NEXT_SERVICE_IMAGE}}}})

    assert touched(stack.preview().succeeded()) == {"rdv", "rdv-migrations"}
    with Load.of(lambda: platform.call("GET", "/api/rdv/public/info", token), per_second=8, max_duration_s=300) as load:
        stack.up().succeeded()
        until("the last old pod is gone", lambda: not set(before) & set(stack.every_pod("rdv")))

    print(f"{load.succeeded} requests answered during rdv's rollout")
    assert load.failures == []
    assert load.succeeded > 0
    failure_record.set_lost("nothing")
    failure_record.set_requests(load)
    assert stack.rolled_since(before) == {"rdv"}
    images = {pod["spec"]["containers"][0]["image"] for pod in stack.pods("rdv").values()}
    assert images == {configuration.NEXT_SERVICE_IMAGE}


@pytest.mark.parametrize("lost", LOSSES)
def test_the_platform_recovers_under_load_with_every_acknowledged_booking(
    stack: ClusterStack, lost: str, failure_record: FailureRecord
) -> None:
    effect = "requests that need it fail or wait until it is back"
    failure_record.begin(f"Deleted under load: {lost}", on="Kubernetes", effect=effect)
    platform = stack.platform()
    bookings = Bookings(platform)
    with Load(bookings.next, per_second=4, max_duration_s=300, workers=32) as load:
        until("bookings succeed", lambda: len(bookings.acknowledged) > 5)
        with failure_record.measure_recovery():
            stack.kubectl("delete", "pod", *LOSSES[lost])
            platform.seconds_until_recovered()
    until("every pod is ready", stack.all_ready)
    with port_forward(stack, "statefulset/postgres", 5432) as port:
        compared = bookings.compared(stored(stack.outputs(), bookings.run, ("127.0.0.1", port)))
    assert compared.agrees, compared
    assert RETAINED_TITLE in platform.titles(TENANT)
    failure_record.set_lost(f"nothing: {compared.acknowledged} of {compared.acknowledged} acknowledged bookings")
    failure_record.set_requests(load)


def test_changed_configuration_and_secrets_restart_their_readers(stack: ClusterStack) -> None:
    before = stack.identities()
    stack.change({"gateway": {"rateLimit": {"perMinute": LOW_RATE_LIMIT}}})
    stack.up().succeeded()
    assert stack.rolled_since(before) == {"kong"}

    platform = stack.platform()
    token = platform.token()
    # Earlier requests in this minute count towards the limit.
    until("another minute", lambda: platform.call("GET", "/api/user/public/info", token).status == 200)
    platform.check_rate_limit(LOW_RATE_LIMIT)

    before = stack.identities()
    stack.change({"gateway": {"rateLimit": {"perMinute": configuration.RATE_LIMIT}}})
    stack.set_secrets({"stripeSecretKey": "another key"})
    stack.up().succeeded()
    assert stack.rolled_since(before) == {"kong", "payment"}
    (pod,) = stack.pods("payment")
    assert stack.kubectl("exec", pod, "--", "cat", "/run/secrets/service/STRIPE_SECRET_KEY") == "another key"


def test_more_replicas_add_pods_and_a_disruption_budget(stack: ClusterStack) -> None:
    before = stack.identities()
    stack.change({"services": {"overrides": {"planning": {"replicas": 2}}}})
    stack.up().succeeded()
    assert len(stack.pods("planning")) == 2
    assert before.items() <= stack.identities().items(), "the first one stays"
    assert "planning" in {one["metadata"]["name"] for one in stack.objects("poddisruptionbudgets")}


def test_an_update_keeps_the_autoscalers_replica_count(stack: ClusterStack) -> None:
    scaling = {"minReplicas": 1, "maxReplicas": 3, "cpuPercent": 80}
    stack.change({"services": {"overrides": {"planning": {"replicas": None, "scaling": scaling}}}})
    stack.up().succeeded()
    (autoscaler,) = stack.objects("horizontalpodautoscalers")
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == "planning"
    assert (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]) == (1, 3)

    # Scale like the autoscaler. The program no longer sets the number of replicas.
    stack.kubectl("scale", "deployment/planning", "--replicas=1")
    until("one pod is left", lambda: len(stack.pods("planning")) == 1)
    stack.preview("--expect-no-changes").succeeded()
    assert stack.up("--refresh").succeeded().code == 0
    assert len(stack.pods("planning")) == 1

    stack.change({"services": {"overrides": {"planning": {"scaling": None}}}})
    stack.up().succeeded()
    assert stack.objects("horizontalpodautoscalers") == []


def test_a_removed_service_leaves_its_database(stack: ClusterStack) -> None:
    platform = stack.platform()
    assert platform.book(TENANT, "audit", title="kept by audit").status == 201
    names = [service.name for service in SERVICES]
    stack.change({"services": {"deploy": [name for name in names if name != "audit"]}})
    stack.up().succeeded()
    assert stack.pods("audit") == {}
    assert platform.call("GET", "/api/audit/public/info", platform.token()).status == 404

    stack.change({"services": {"deploy": "all"}})
    stack.up().succeeded()
    assert platform.titles(TENANT, "audit") == ["kept by audit"]


def test_a_failed_task_fails_the_update_and_the_next_one_runs_it_again(
    stack: ClusterStack, failure_record: FailureRecord
) -> None:
    effect = "the update fails with the migration's last lines; the running release keeps serving"
    failure_record.begin("A migration fails", on="Kubernetes", effect=effect)
    before = stack.identities()
    with counted(stack.platform(), failure_record) as load:
        with stack.temporary_configuration():
            stack.change({"services": {"migrationCommand": FAILING_MIGRATION}})
            failed = stack.up().failed()
            for line in LAST_LINES:
                assert line in failed.output
            assert stack.identities() == before, "a service was touched"
            stack.platform().check_services()
        with failure_record.measure_recovery():
            repair = stack.up().succeeded()
    assert load.failures == []
    failure_record.set_lost("nothing")
    assert {f"create-replacement Job {service.name}-migrations" for service in SERVICES} <= set(repair.changes)
    assert stack.identities() == before
    stack.preview("--expect-no-changes").succeeded()


def test_the_next_up_completes_a_killed_one(stack: ClusterStack, failure_record: FailureRecord) -> None:
    failure_record.begin("An `up` that changes Redis is killed", on="Kubernetes", effect="the next `up` completes it")
    stack.change({"redis": {"maxMemoryMib": 72}})
    with counted(stack.platform(), failure_record) as load:
        kill(stack, Step("begun", "update", "StatefulSet", "redis"))
        with failure_record.measure_recovery():
            repair(stack)
    assert load.failures == []
    (pod,) = stack.pods("redis").values()
    # docs/stores.md: 2 x (1.2 x data + clients) + 96.
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "302Mi"
    assert RETAINED_TITLE in stack.platform().titles(TENANT)
    failure_record.set_lost("nothing")


def test_another_number_of_brokers_takes_the_documented_steps(stack: ClusterStack) -> None:
    for before, brokers in ((3, 1), (1, 3)):
        change_the_number_of_brokers(stack, before, brokers)


def change_the_number_of_brokers(stack: ClusterStack, before: int, brokers: int) -> None:
    """Do what docs/stores.md says, "Another number of brokers"."""
    stack.change({"services": {"deploy": []}})
    stack.up().succeeded()
    stack.change({"kafka": {"brokers": brokers}})
    refused = stack.preview().failed()
    assert f"kafka.brokers can't change from '{before}' to '{brokers}'" in refused.output

    stack.kubectl("delete", "statefulset", "kafka", "--wait=true")
    stack.kubectl("delete", "pvc", *(f"kafka-kraft-data-kafka-{number}" for number in range(before)), "--wait=true")
    # The update refuses first the number in the settings, and then the PVCs that contain the data.
    stack.forget(refused.record())
    stack.forget(stack.up("--refresh").record())
    stack.up("--refresh").succeeded()

    assert len(stack.pods("kafka")) == brokers
    stack.change({"services": {"deploy": "all"}})
    stack.up().succeeded()
    stack.platform().journey()
    stack.preview("--expect-no-changes").succeeded()


def test_destroy_keeps_the_claims_and_a_killed_recreation_is_completed_with_every_row(
    stack: ClusterStack, failure_record: FailureRecord
) -> None:
    claims = {one["metadata"]["uid"] for one in stack.objects("persistentvolumeclaims")}
    assert len(claims) == len(configuration.CLAIMS)
    stack.destroy().succeeded()
    assert stack.cluster.kubectl("get", "namespace", NAMESPACE, "--output=name").strip() == f"namespace/{NAMESPACE}"
    until("its pods are gone", lambda: stack.pods() == {})
    assert {one["metadata"]["uid"] for one in stack.objects("persistentvolumeclaims")} == claims
    for kind in ("deployments", "statefulsets", "jobs", "services", "secrets", "networkpolicies"):
        assert stack.objects(kind) == [], kind

    failure_record.begin(
        "The first `up` after a `destroy` is killed", on="Kubernetes", effect="the next `up` completes it"
    )
    kill(stack, Step("begun", "create", "StatefulSet", "postgres"))
    with failure_record.measure_recovery():
        repair(stack)
    platform = stack.platform()
    assert RETAINED_TITLE in platform.titles(TENANT)
    failure_record.set_lost("nothing: the earlier rows still exist")
    platform.journey()


def kill(stack: ClusterStack, step: Step) -> None:
    """Kill an `up` and its plugins after a given step. Its lock remains, as Pulumi reports."""
    has_come: Callable[[list[Step]], bool] = lambda steps: step in steps  # noqa: E731 - named by its type
    stack.kill_up_when(str(step), has_come, plugins_too=True)
    assert "pulumi cancel" in stack.up().failed().output


def repair(stack: ClusterStack) -> None:
    """Run one ordinary `up`, after which no change is left."""
    stack.cancel()
    stack.up().succeeded()
    stack.preview("--expect-no-changes").succeeded()


def touched(outcome: Outcome) -> set[str]:
    """Return the workloads whose objects a preview or an update changes."""
    names = {change.split()[2] for change in outcome.changes}
    return {name.removesuffix("-secrets").removesuffix("-ready") for name in names}

"""How an update waits for a rollout, and when it gives up; kubectl is a stand-in with scripted responses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi
import pytest
from pulumi.resource_hooks import ResourceHookArgs

from backends import shared_query
from backends.base import DeployOptions
from backends.kubernetes import kubectl, observed, rollout, rollout_wait
from backends.kubernetes.backend import KubernetesBackend
from backends.kubernetes.claims import MISSING_CLAIM_CLASS
from recording.recorder import Recording
from settings.backend import KubernetesSettings
from tests.unit.kubernetes_recording import record_program, record_workloads, stateful, task, workload
from tests.unit.rollout_objects import (
    Object,
    claim,
    deployment,
    ended,
    job,
    pod,
    postgres_cluster,
    replica_set,
    server,
    stateful_set,
    waiting,
)
from workloads import (
    Autoscaling,
    Exec,
    PostgresCluster,
    Probe,
    Service,
    StatefulService,
    Task,
    Volume,
    Workload,
    WorkloadError,
)

ObservedState = Sequence[Object] | kubectl.KubectlError

WEB = workload(readiness=Probe(check=Exec(command=("ready",)), startup_s=100))
STORE = stateful(
    "store",
    volumes=(Volume(name="data", mount="/data"),),
    readiness=Probe(check=Exec(command=("ready.sh", "--now")), startup_s=100),
)
TASK = task(timeout_s=100)
CLUSTER = PostgresCluster(
    name="db",
    image="postgresql:18.2",
    instances=2,
    size_gib=1,
    memory_mib=64,
    shm_mib=1,
    cpu_request=0.1,
    admin_password="s3cret",
    operator_namespace="cnpg-system",
    startup_s=100,
)
CONTROLLER: Mapping[type[Workload], str] = {Service: "web", StatefulService: "store", Task: "migrate-1"}
READY = [deployment(ready=1)]


class RolloutTester:
    """Waits for a workload's rollout through a sequence of states; the last state persists."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[str] = []
        self.events: list[Object] = []
        self.queried: list[str] = []
        self.deleted: list[str] = []
        self.woken: list[str] = []
        self.answers: Mapping[str, str] = {}
        self.seconds = 0.0
        self._patch = monkeypatch
        for level in ("info", "warn"):
            monkeypatch.setattr(pulumi.log, level, self.shown.append)
        monkeypatch.setattr(rollout_wait, "POLL_S", 0)
        monkeypatch.setattr(rollout, "REPORT_PERIOD_S", 0)
        monkeypatch.setattr(observed, "POLL_S", 0)
        monkeypatch.setattr(shared_query, "PAUSE_FACTOR", 0)

    def __call__(self, one: Workload | PostgresCluster, *states: ObservedState, step_s: float = 5.0) -> None:
        """Advance time by `step_s` with each query."""
        script = [*states]
        moment: list[Object] = []

        def read(settings: KubernetesSettings, *arguments: str) -> str:
            if "events" in arguments:
                return json.dumps({"items": self.events})
            if arguments[0] == "delete":
                self.deleted.append(arguments[1])
                return ""
            kinds, selector = arguments[1], arguments[3]
            self.queried += [kinds, selector]
            if kinds.startswith("deployments,"):
                self.seconds += step_s
                found = script.pop(0) if len(script) > 1 else script[0]
                if isinstance(found, kubectl.KubectlError):
                    raise found
                moment[:] = found
            operated = {
                "clusters.postgresql.cnpg.io": is_cluster,
                "jobs,pods,persistentvolumeclaims": is_operator_object,
            }
            shown = operated.get(kinds, lambda one: not is_cluster(one) and not is_operator_object(one))
            return json.dumps({"items": [*filter(shown, moment)]})

        def answer(settings: KubernetesSettings, *arguments: str) -> str:
            if arguments[0] == "annotate":
                self.woken.append(arguments[1])
            return self.answers.get(arguments[1], "")

        self._patch.setattr(kubectl, "read", read)
        self._patch.setattr(kubectl, "read_or_empty", answer)
        for module in (rollout_wait, shared_query):
            self._patch.setattr(module, "monotonic", lambda: self.seconds)
        recorded = record_workloads(one) if isinstance(one, Workload) else with_postgres(one)
        hook = recorded.hooks["kubernetes-wait-for-rollout"]
        assert isinstance(hook, pulumi.ResourceHook)
        name = CONTROLLER[type(one)] if isinstance(one, Workload) else one.name
        inputs = {"input": {"name": name, "uid": f"uid of {name}", "revision": "2"}}
        answered = hook.callback(
            ResourceHookArgs("urn", "", f"{one.name}-ready", "pulumi:index:Stash", new_inputs=inputs)
        )
        assert asyncio.iscoroutine(answered)
        asyncio.run(answered)

    def failure_message(self, one: Workload | PostgresCluster, *states: ObservedState, step_s: float = 5.0) -> str:
        """Return the error of a failing wait."""
        with pytest.raises(WorkloadError) as failed:
            self(one, *states, step_s=step_s)
        return str(failed.value)


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> RolloutTester:
    return RolloutTester(monkeypatch)


def is_cluster(one: Object) -> bool:
    """Return whether the kind is CloudNativePG's Cluster."""
    return str(one["kind"]) == "Cluster"


def is_operator_object(one: Object) -> bool:
    """Return whether the operator created it."""
    return "cnpg.io/cluster" in one["metadata"]["labels"]


def with_postgres(cluster: PostgresCluster) -> Recording[KubernetesBackend]:
    """Deploy only a PostgreSQL cluster."""

    def program(backend: KubernetesBackend, parent: pulumi.Resource) -> None:
        backend.deploy_postgres_cluster(cluster, DeployOptions(parent=parent))

    return record_program(program)


def web_pod(*arguments: Any, **fields: Any) -> list[Object]:
    """Return a Deployment with one unready pod of its newest revision."""
    return [deployment(), replica_set(), pod("web-2-x", "web-2", *arguments, **fields)]


def store_pod(*arguments: Any, **fields: Any) -> list[Object]:
    """Return the StatefulSet with its unready pod."""
    return [stateful_set(), pod("store-0", "store", *arguments, **fields)]


class TestSuccess:
    def test_a_deployment_is_done_once_new_pods_are_ready_and_old_ones_deleted(self, wait: RolloutTester) -> None:
        unseen, old = deployment(ready=1, observed=1), deployment(ready=1, old=1)
        wait(WEB, [unseen], [old], [deployment(ready=0)], READY)
        assert wait.seconds == 20

    def test_a_stateful_set_is_done_once_every_pod_has_its_newest_revision(self, wait: RolloutTester) -> None:
        wait(STORE, [stateful_set(ready=1)], [stateful_set(ready=1, current="new")])
        assert wait.seconds == 10

    def test_a_job_is_done_once_it_has_completed(self, wait: RolloutTester) -> None:
        wait(TASK, [job()], [job("Complete")])
        assert wait.seconds == 10

    def test_a_cluster_that_does_not_respond_is_queried_again(self, wait: RolloutTester) -> None:
        wait(WEB, kubectl.KubectlError("timeout"), kubectl.KubectlError("connection refused"), READY)

    def test_pods_of_an_old_revision_are_ignored(self, wait: RolloutTester) -> None:
        broken = pod("web-1-x", "web-1", waiting("ImagePullBackOff"))
        wait(WEB, *[[deployment(), replica_set("1"), replica_set("2"), broken]] * 20, READY)
        assert wait.shown == []


class TestPulls:
    @pytest.mark.parametrize("of", [web_pod, store_pod])
    def test_a_pull_that_keeps_failing_ends_the_wait_with_its_cause(
        self, wait: RolloutTester, of: Callable[..., list[Object]]
    ) -> None:
        one = WEB if of is web_pod else STORE
        cause = "rpc error: code = NotFound: failed to resolve reference"
        error = wait.failure_message(
            one, of(waiting("ErrImagePull", cause)), of(waiting("ImagePullBackOff", "Back-off"))
        )
        name = "web-2-x" if one is WEB else "store-0"
        assert f"pod {name}, container main: ImagePullBackOff: {cause}" in error
        assert f"{one.name} isn't ready after" in error
        assert wait.seconds < 100
        assert len(wait.shown) == 1, "it is reported once, at once"

    def test_a_short_outage_of_the_registry_is_tolerated(self, wait: RolloutTester) -> None:
        failing = web_pod(waiting("ErrImagePull", "503"))
        wait(WEB, failing, failing, failing, web_pod(waiting("ContainerCreating")), failing, failing, READY)

    def test_time_spent_pulling_does_not_count(self, wait: RolloutTester) -> None:
        pulling = web_pod(waiting("ContainerCreating"), conditions={"PodReadyToStartContainers": "True"})
        wait(WEB, *[pulling] * 100, READY)
        assert "isn't ready after" in wait.failure_message(WEB, web_pod(waiting("ContainerCreating")))

    def test_problems_of_a_task_end_the_wait_like_those_of_a_service(self, wait: RolloutTester) -> None:
        pulling = [job(), pod("migrate-1-x", "migrate-1", waiting("ImagePullBackOff", "no such image"))]
        assert "pod migrate-1-x, container main: ImagePullBackOff: no such image" in wait.failure_message(TASK, pulling)
        assert wait.seconds < 100


class TestCrashes:
    LAST = ended(1, message="reading the settings\nno licence found")

    def crashed(self, restarts: int, last: Mapping[str, Any] = LAST) -> list[Object]:
        return web_pod(waiting("CrashLoopBackOff"), restarts=restarts, last=last)

    def test_the_third_restart_ends_the_wait_with_the_last_log_lines(self, wait: RolloutTester) -> None:
        error = wait.failure_message(WEB, web_pod(), *map(self.crashed, (1, 2, 3)))
        assert "CrashLoopBackOff: exit code 1. Its last lines:\nreading the settings\nno licence found" in error
        assert wait.seconds == 20
        assert len(wait.shown) == 1, "the first crash is reported, and no other"

    def test_a_pod_that_starts_after_two_crashes_succeeds(self, wait: RolloutTester) -> None:
        wait(WEB, web_pod(), *map(self.crashed, (1, 2)), web_pod(restarts=3, last=self.LAST), READY)

    def test_crashes_before_the_update_do_not_count(self, wait: RolloutTester) -> None:
        wait(WEB, self.crashed(7), self.crashed(7), READY)
        assert "CrashLoopBackOff" in wait.failure_message(WEB, self.crashed(7), self.crashed(8))

    def test_a_crash_loop_is_reported_before_the_kubelet_reports_it(self, wait: RolloutTester) -> None:
        error = wait.failure_message(WEB, web_pod(), web_pod({"terminated": self.LAST}, restarts=3))
        assert "container main: CrashLoopBackOff: exit code 1" in error

    def test_an_oom_kill_is_reported(self, wait: RolloutTester) -> None:
        error = wait.failure_message(
            WEB, self.crashed(3, ended(137, "OOMKilled")), self.crashed(4, ended(137, "OOMKilled"))
        )
        assert "OOMKilled: it used all of its 64Mi of memory; exit code 137" in error


class TestConfiguration:
    @pytest.mark.parametrize("reason", ["CreateContainerConfigError", "RunContainerError"])
    def test_a_container_configuration_error_is_reported(self, wait: RolloutTester, reason: str) -> None:
        error = wait.failure_message(WEB, web_pod(waiting(reason, 'secret "keys" not found')))
        assert f'{reason}: secret "keys" not found' in error
        assert wait.seconds < 100


class TestScheduling:
    MESSAGE = "0/3 nodes are available: 3 Insufficient cpu."

    def unschedulable(self) -> list[Object]:
        scheduled = {"status": "False", "reason": "Unschedulable", "message": self.MESSAGE}
        return web_pod(conditions={"PodScheduled": scheduled})

    def test_an_unschedulable_pod_does_not_end_the_wait(self, wait: RolloutTester) -> None:
        wait(WEB, *[self.unschedulable()] * 20, READY)
        assert wait.shown == [f"web: pod web-2-x: Unschedulable: {self.MESSAGE}"]

    def test_a_timeout_quotes_the_scheduler(self, wait: RolloutTester) -> None:
        error = wait.failure_message(WEB, self.unschedulable())
        assert f"pod web-2-x: Unschedulable: {self.MESSAGE}" in error
        assert "0 of 1 replicas ready" in error
        assert wait.seconds > 200

    def test_a_quota_ends_the_wait(self, wait: RolloutTester) -> None:
        refused = 'pods "web-2-" is forbidden: exceeded quota: small'
        error = wait.failure_message(WEB, [deployment(), replica_set(refused=refused)])
        assert f"ReplicaSet web-2: FailedCreate: {refused}" in error
        assert wait.seconds < 100

    @pytest.mark.parametrize(("age_s", "counts"), [(1, True), (600, False)])
    def test_a_refusal_in_an_event_only_counts_while_it_is_recent(
        self, wait: RolloutTester, age_s: int, counts: bool
    ) -> None:
        seen = (datetime.now(UTC) - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
        wait.events = [{"metadata": {}, "reason": "FailedCreate", "message": "exceeded quota", "lastTimestamp": seen}]
        error = wait.failure_message(STORE, [stateful_set()])
        assert ("StatefulSet store: FailedCreate: exceeded quota" in error) is counts
        assert (wait.seconds < 100) is counts

    def test_a_controller_that_pauses_after_a_refusal_is_triggered_to_retry(self, wait: RolloutTester) -> None:
        """The cause is fixed, and the next update must not wait until the controller's back-off ends."""
        wait(WEB, *[[deployment(), replica_set(refused="exceeded quota")]] * 3, READY)
        assert wait.woken == ["replicaset/web-2"] * 2, "set, and removed"
        wait.woken.clear()
        wait(STORE, *[[stateful_set()]] * 3, [stateful_set(ready=1, current="new")])
        assert wait.woken == ["statefulset/store"] * 2

    def test_a_controller_that_is_about_to_create_its_pods_is_not_triggered(self, wait: RolloutTester) -> None:
        wait(STORE, [stateful_set()], [stateful_set(ready=1, current="new")], step_s=1)
        assert wait.woken == []


class TestClaims:
    def pending(self, storage_class: str | None) -> list[Object]:
        return [*store_pod(claim="data-store-0"), claim(storage_class)]

    def test_a_missing_default_storage_class_ends_the_wait(self, wait: RolloutTester) -> None:
        error = wait.failure_message(STORE, self.pending(None))
        assert "claim data-store-0: no storage class: The cluster has no default storage class." in error
        assert wait.seconds < 100

    def test_a_missing_claim_ends_the_wait_immediately(self, wait: RolloutTester) -> None:
        assert "The claim 'data-store-0' with this stack's data is missing" in wait.failure_message(
            STORE, self.pending(MISSING_CLAIM_CLASS)
        )
        assert wait.seconds < 10

    def test_storage_that_is_being_provisioned_does_not_end_the_wait(self, wait: RolloutTester) -> None:
        wait(STORE, *[self.pending("fast")] * 20, [stateful_set(ready=1, current="new")])
        assert wait.shown == []

    def test_a_timeout_names_storage_that_was_not_provisioned(self, wait: RolloutTester) -> None:
        error = wait.failure_message(STORE, self.pending("fast"))
        assert "claim data-store-0: Pending: its storage class is fast" in error


class TestTasks:
    def test_a_failed_job_is_reported_with_the_last_log_lines_of_its_newest_pod(self, wait: RolloutTester) -> None:
        last = {"terminated": ended(3, message="the old tables are locked")}
        error = wait.failure_message(
            TASK, [job("Failed", "too many"), pod("migrate-1-x", "migrate-1", last, phase="Failed")]
        )
        assert "BackoffLimitExceeded: too many" in error
        assert "pod migrate-1-x: exit code 3. Its last lines:\nthe old tables are locked" in error

    def test_an_attempt_that_hangs_ends_the_wait(self, wait: RolloutTester) -> None:
        error = wait.failure_message(TASK, [job(), pod("migrate-1-x", "migrate-1", {"running": {}})])
        assert "pod migrate-1-x has run for longer than 100 s" in error
        assert wait.seconds < 150


class TestPostgresCluster:
    def test_a_cluster_is_done_once_every_server_runs_its_image_and_is_ready(self, wait: RolloutTester) -> None:
        healthy, first = postgres_cluster("Cluster in healthy state"), server("db-1")
        wait(
            CLUSTER,
            [postgres_cluster(), first, server("db-2")],
            [healthy, first, server("db-2", image="postgresql:18.1")],
            [healthy, first, server("db-2", ready=False)],
            [healthy, first, server("db-2")],
        )
        assert wait.seconds == 20

    @pytest.mark.parametrize("broken", [{"pulls": "ImagePullBackOff"}, {"init": "ErrImagePull"}])
    def test_a_server_without_its_image_ends_the_wait(self, wait: RolloutTester, broken: dict[str, str]) -> None:
        phase = "Waiting for the instances to become active"
        error = wait.failure_message(
            CLUSTER, [postgres_cluster(phase), server("db-1"), server("db-2", ready=False, **broken)]
        )
        assert f"1 of 2 servers ready: {phase}" in error
        container = "postgres" if "pulls" in broken else "bootstrap-controller"
        assert f"pod db-2, container {container}: {next(iter(broken.values()))}" in error
        assert wait.seconds < 60

    def test_a_server_without_its_image_from_an_earlier_rollout_is_recreated(self, wait: RolloutTester) -> None:
        broken = server("db-2", image="postgresql:99", ready=False, pulls="ImagePullBackOff")
        starting = server("db-3", ready=False)
        healthy = postgres_cluster("Cluster in healthy state")
        wait(
            CLUSTER,
            [postgres_cluster(), server("db-1"), broken, starting],
            [postgres_cluster(), server("db-1"), server("db-2", ready=False, pulls="ErrImagePull")],
            [healthy, server("db-1"), server("db-2")],
        )
        assert wait.deleted == ["pod/db-2"]

    def test_a_permanent_phase_of_the_operator_ends_the_wait(self, wait: RolloutTester) -> None:
        error = wait.failure_message(
            CLUSTER, [postgres_cluster("Unable to create required cluster objects", "exceeded quota")]
        )
        assert "Cluster db: Unable to create required cluster objects: exceeded quota" in error
        assert wait.seconds < 60

    def test_without_a_postgres_cluster_its_kind_is_not_queried(self, wait: RolloutTester) -> None:
        wait(WEB, READY)
        assert wait.queried
        assert not any("cnpg" in one for one in wait.queried)


class TestProgress:
    def test_each_progress_is_shown_once_and_restarts_the_timeout(self, wait: RolloutTester) -> None:
        recovering = store_pod({"running": {}})
        reports = iter(range(0, 100, 10))

        class Answers(dict[str, str]):
            def get(self, pod: str, default: Any = None) -> str:
                return f"recovering: {next(reports, 90)} %"

        wait.answers = Answers()
        error = wait.failure_message(STORE, recovering, step_s=1)
        assert wait.shown[:3] == [f"store-0: recovering: {percent} %" for percent in (0, 10, 20)]
        assert len(wait.shown) == 10
        assert "store isn't ready after" in error


class TestFailures:
    def test_a_deleted_controller_ends_the_wait(self, wait: RolloutTester) -> None:
        assert "Deployment web is gone" in wait.failure_message(WEB, [replica_set()])
        assert wait.seconds < 100

    def test_a_cluster_that_refuses_access_ends_the_wait(self, wait: RolloutTester) -> None:
        error = wait.failure_message(WEB, kubectl.KubectlError("pods is forbidden: User cannot list"))
        assert "pods is forbidden" in error
        assert wait.seconds < 10

    def test_a_timeout_quotes_the_pods_reports(self, wait: RolloutTester) -> None:
        now = datetime.now(UTC).isoformat()
        probe = "Readiness probe failed: HTTP probe failed with statuscode: 503"
        wait.events = [{"metadata": {}, "reason": "Unhealthy", "message": probe, "lastTimestamp": now}]
        assert f"pod web-2-x: Unhealthy: {probe}" in wait.failure_message(WEB, web_pod({"running": {}}))

    @pytest.mark.parametrize(
        ("finalizers", "why"),
        [
            (["example.com/held"], "kept by its finalizers (example.com/held)"),
            ([], "it hasn't terminated, or its node"),
        ],
        ids=["finalizers", "node"],
    )
    def test_a_timeout_names_a_pod_that_stays_terminating(
        self, wait: RolloutTester, finalizers: list[str], why: str
    ) -> None:
        controller, held = store_pod({"terminated": ended(0)})
        held["metadata"] |= {"deletionTimestamp": datetime.now(UTC).isoformat(), "finalizers": finalizers}
        assert f"pod store-0: Terminating: {why}" in wait.failure_message(STORE, [controller, held])


class TestRecords:
    def test_the_rollout_record_comes_before_dependents(self) -> None:
        names = [
            str(one).rpartition(":")[2]
            for one in record_workloads(STORE, workload(depends_on=("store",))).registrations
        ]
        order = ("StatefulSet store", "Stash store-ready", "Deployment web")
        assert (*sorted(order, key=names.index),) == order

    def test_a_replica_count_set_by_an_autoscaler_is_not_a_revision(self) -> None:
        scaled = Autoscaling(minimum=2, maximum=3, cpu_percent=60)
        one, other = (
            record_workloads(workload(autoscaling=scale)).get("Stash", "web-ready").inputs["input"]["revision"]
            for scale in (scaled, Autoscaling(minimum=3, maximum=3, cpu_percent=60))
        )
        assert one == other

    def test_the_autoscaler_is_deleted_before_a_fixed_number_is_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        commands: list[tuple[str, ...]] = []

        def read(settings: KubernetesSettings, *arguments: str) -> str:
            commands.append(arguments)
            return ""

        monkeypatch.setattr(kubectl, "read", read)
        recording = record_workloads(workload(replicas=2))
        assert recording.get("Deployment", "web").hooks["before_update"] == ("kubernetes-end-autoscaling",)
        hook = recording.hooks["kubernetes-end-autoscaling"]
        assert isinstance(hook, pulumi.ResourceHook)
        for marks in ({}, {"pti-calendar/replicas": "autoscaler"}):
            old = {"metadata": {"annotations": marks}}
            arguments = ResourceHookArgs(
                "urn", "", "web", "type", old_inputs=old, new_inputs={"metadata": {"name": "web"}}
            )
            answered = hook.callback(arguments)
            assert asyncio.iscoroutine(answered)
            asyncio.run(answered)
        assert commands == [("delete", "horizontalpodautoscaler/web", "--ignore-not-found")]

"""How the Kubernetes backend runs, updates, scales and waits for workloads, and protects their data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from backends.kubernetes.controllers import rollout_timeout_s, timeouts
from tests.unit.kubernetes_recording import (
    CONTROLLERS,
    container_spec,
    find_manifest,
    minimal_workload,
    pod_template_of,
    port,
    recording_of,
    scheduled,
    stateful,
    task,
    workload,
)
from workloads import (
    Autoscaling,
    Exec,
    FileSet,
    LoadBalancer,
    Metrics,
    Probe,
    Service,
    StatefulService,
    Volume,
    Workload,
    WorkloadError,
)

STARTS_IN_100_S = Probe(check=Exec(command=("ready",)), startup_s=100)
SCALE = Autoscaling(minimum=2, maximum=6, cpu_percent=60)


DATA = (Volume(name="data", mount="/data", size_gib=5),)


def store(name: str = "store", **fields: Any) -> StatefulService:
    """Return a stateful workload with a volume."""
    return stateful(name, **{"volumes": DATA, **fields})


class TestControllers:
    @pytest.mark.parametrize("kind", CONTROLLERS)
    def test_each_kind_of_workload_has_its_controller(self, kind: type[Workload]) -> None:
        recording = recording_of(minimal_workload(kind))
        assert [one for one in CONTROLLERS.values() if recording.of_type(one)] == [CONTROLLERS[kind]]

    @pytest.mark.parametrize("kind", [Service, StatefulService])
    def test_a_controllers_selector_matches_its_own_pods(self, kind: type[Workload]) -> None:
        spec = find_manifest(recording_of(minimal_workload(kind)), CONTROLLERS[kind], "web")["spec"]
        selector = spec["selector"]["matchLabels"]
        assert selector == {"app.kubernetes.io/name": "web", "app.kubernetes.io/part-of": "pti-calendar"}
        assert selector.items() <= spec["template"]["metadata"]["labels"].items()

    @pytest.mark.parametrize("kind", CONTROLLERS)
    def test_every_object_has_the_namespace_the_parent_and_the_provider(self, kind: type[Workload]) -> None:
        recording = recording_of(minimal_workload(kind), namespace="elsewhere")
        objects = [one for one in recording.registrations if one.type.startswith("kubernetes:")]
        assert {one.provider for one in objects} == {"pulumi:providers:kubernetes kubernetes"}
        inside = [one for one in objects if not one.type.endswith(":Namespace")]
        assert {one.inputs["metadata"]["namespace"] for one in inside} == {"elsewhere"}
        below = [one for one in inside if one.name != "default-deny"]
        assert len(below) >= 3
        assert {one.parent for one in below} == {"test:index:Parent parent"}


class TestRollingUpdate:
    def test_a_pod_is_removed_once_its_successor_is_ready(self) -> None:
        spec = find_manifest(recording_of(workload(replicas=2)), "Deployment", "web")["spec"]
        assert spec["strategy"] == {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        }
        assert spec["minReadySeconds"] > 0
        assert spec["revisionHistoryLimit"] == 3

    def test_an_update_that_does_not_become_ready_times_out(self) -> None:
        spec = find_manifest(recording_of(workload(readiness=STARTS_IN_100_S)), "Deployment", "web")["spec"]
        assert 100 < spec["progressDeadlineSeconds"] <= 100 + 120

    @pytest.mark.parametrize("replicas", [1, 3])
    def test_a_stateful_set_does_not_wait_for_unready_pods(self, replicas: int) -> None:
        spec = find_manifest(recording_of(store(replicas=replicas)), "StatefulSet", "store")["spec"]
        assert spec["podManagementPolicy"] == "Parallel"
        assert spec["replicas"] == replicas
        assert spec["updateStrategy"] == {"type": "RollingUpdate"}

    def test_the_update_waits_for_one_replica_after_the_other(self) -> None:
        one = workload(readiness=STARTS_IN_100_S, stop_grace_s=10)
        assert rollout_timeout_s(one) == 235
        three = workload(readiness=STARTS_IN_100_S, stop_grace_s=10, replicas=3)
        assert rollout_timeout_s(three) == 465
        scaled = workload(readiness=STARTS_IN_100_S, stop_grace_s=10, autoscaling=SCALE)
        assert rollout_timeout_s(scaled) == 810

    def test_the_update_waits_for_all_attempts_of_a_task(self) -> None:
        assert rollout_timeout_s(task(timeout_s=300, stop_grace_s=20)) > 3 * (300 + 20)

    @pytest.mark.parametrize("kind", CONTROLLERS)
    def test_the_provider_only_waits_for_deletion(self, kind: type[Workload]) -> None:
        """`skipAwait` would also skip waiting for the deletion."""
        annotations = find_manifest(recording_of(minimal_workload(kind)), CONTROLLERS[kind], "web")["metadata"][
            "annotations"
        ]
        assert annotations["pulumi.com/waitFor"] == "jsonpath={.metadata.uid}"
        assert "pulumi.com/skipAwait" not in annotations

    def test_a_deletion_is_awaited_beyond_the_grace_period(self) -> None:
        assert timeouts(store(stop_grace_s=60)).delete == "180s"


class TestScaling:
    def test_a_fixed_number_of_replicas_is_set_on_the_deployment(self) -> None:
        recording = recording_of(workload(replicas=3))
        assert find_manifest(recording, "Deployment", "web")["spec"]["replicas"] == 3
        assert recording.of_type("HorizontalPodAutoscaler") == []

    def test_an_autoscaler_controls_the_number_of_replicas(self) -> None:
        recording = recording_of(workload(autoscaling=SCALE))
        assert find_manifest(recording, "Deployment", "web")["spec"]["replicas"] == 2
        assert recording.get("Deployment", "web").ignore_changes == ("spec.replicas",)
        assert recording_of(workload(replicas=3)).get("Deployment", "web").ignore_changes == ()
        spec = find_manifest(recording, "HorizontalPodAutoscaler", "web")["spec"]
        assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
        (metric,) = spec["metrics"]
        assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}

    def test_returning_to_a_fixed_number_is_always_a_change(self) -> None:
        """Pulumi would see no difference between the old number and the recorded one, although the autoscaler has
        changed it in the cluster."""
        scaled, fixed = (
            find_manifest(recording_of(one), "Deployment", "web")["metadata"]["annotations"]
            for one in (workload(autoscaling=SCALE), workload(replicas=2))
        )
        assert scaled != fixed

    def test_the_autoscaler_scales_up_faster_than_down(self) -> None:
        behavior = find_manifest(recording_of(workload(autoscaling=SCALE)), "HorizontalPodAutoscaler", "web")["spec"][
            "behavior"
        ]
        up, down = behavior["scaleUp"], behavior["scaleDown"]
        assert up["stabilizationWindowSeconds"] < down["stabilizationWindowSeconds"]

    @pytest.mark.parametrize(
        "several",
        [workload(replicas=2), workload(autoscaling=SCALE), stateful(replicas=3)],
        ids=["replicas", "autoscaling", "stateful"],
    )
    def test_a_drain_evicts_one_pod_at_a_time(self, several: Workload) -> None:
        spec = find_manifest(recording_of(several), "PodDisruptionBudget", "web")["spec"]
        assert spec["maxUnavailable"] == 1
        assert spec["selector"]["matchLabels"]["app.kubernetes.io/name"] == "web"
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"

    @pytest.mark.parametrize(
        "single",
        [workload(), workload(autoscaling=Autoscaling(minimum=1, maximum=3, cpu_percent=70)), store(), task()],
        ids=["service", "autoscaling from 1", "stateful", "task"],
    )
    def test_a_single_pod_never_blocks_a_drain(self, single: Workload) -> None:
        assert recording_of(single).of_type("PodDisruptionBudget") == []


class TestTasks:
    def test_a_task_is_retried_a_few_times_each_within_its_timeout(self) -> None:
        spec = find_manifest(recording_of(task(timeout_s=90)), "Job", "migrate")["spec"]
        assert spec["backoffLimit"] == 2
        # The timeout applies to each attempt, including the image pull. The Job's own deadline would also include
        # scheduling and all attempts.
        assert spec["template"]["spec"]["activeDeadlineSeconds"] > 90
        assert "activeDeadlineSeconds" not in spec
        assert spec["template"]["spec"]["restartPolicy"] == "Never"

    def test_a_changed_task_creates_another_job_and_a_failed_job_is_replaced(self) -> None:
        metadata = find_manifest(recording_of(task()), "Job", "migrate")["metadata"]
        assert "name" not in metadata
        assert metadata["annotations"]["pulumi.com/replaceUnready"] == "true"

    def test_dependents_of_a_task_start_after_it(self) -> None:
        recording = recording_of(task(), workload(depends_on=("migrate",)), workload("other"))
        assert "kubernetes:batch/v1:Job migrate" in recording.get("Deployment", "web").dependencies
        assert "kubernetes:batch/v1:Job migrate" not in recording.get("Deployment", "other").dependencies

    @pytest.mark.parametrize("kind", [Service, StatefulService])
    def test_dependents_of_a_workload_start_once_it_is_ready(self, kind: type[Workload]) -> None:
        recording = recording_of(minimal_workload(kind), task(depends_on=("web",)))
        needed = f"kubernetes:apps/v1:{CONTROLLERS[kind]} web"
        assert needed in recording.get("Job", "migrate").dependencies


class TestScheduledTasks:
    RECORDING = recording_of(scheduled(timeout_s=90, start_deadline_s=600, schedule="30 2 * * 1-5"), task())
    SPEC = find_manifest(RECORDING, "CronJob", "backup")["spec"]

    def test_a_scheduled_task_runs_by_its_schedule_in_utc(self) -> None:
        assert (self.SPEC["schedule"], self.SPEC["timeZone"]) == ("30 2 * * 1-5", "Etc/UTC")

    def test_runs_never_overlap_and_a_missed_one_starts_within_its_deadline(self) -> None:
        assert (self.SPEC["concurrencyPolicy"], self.SPEC["startingDeadlineSeconds"]) == ("Forbid", 600)

    def test_a_run_has_the_attempts_and_the_pod_of_a_task(self) -> None:
        of_task = find_manifest(self.RECORDING, "Job", "migrate")["spec"]
        run = self.SPEC["jobTemplate"]["spec"]
        assert run["backoffLimit"] == of_task["backoffLimit"]
        assert run["template"]["spec"]["activeDeadlineSeconds"] > 90
        assert run["template"]["spec"]["restartPolicy"] == "Never"

    def test_a_run_whose_pods_never_start_ends(self) -> None:
        run = self.SPEC["jobTemplate"]["spec"]
        attempts = run["backoffLimit"] + 1
        assert run["activeDeadlineSeconds"] == attempts * run["template"]["spec"]["activeDeadlineSeconds"]

    def test_the_last_runs_keep_their_logs(self) -> None:
        assert (self.SPEC["successfulJobsHistoryLimit"], self.SPEC["failedJobsHistoryLimit"]) == (3, 3)

    def test_the_jobs_of_its_runs_have_the_workloads_labels(self) -> None:
        labels = self.SPEC["jobTemplate"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "backup"

    def test_an_update_does_not_wait_for_a_run(self) -> None:
        assert {one.name for one in self.RECORDING.of_type("Stash") if one.name.endswith("-ready")} == {"migrate-ready"}

    def test_its_runs_share_its_claims(self) -> None:
        recording = recording_of(scheduled(volumes=(Volume(name="dumps", mount="/dumps", size_gib=5),)))
        (claim,) = recording.of_type("PersistentVolumeClaim")
        assert claim.name == "dumps-backup"
        assert claim.inputs["spec"]["resources"]["requests"]["storage"] == "5Gi"
        volumes = pod_template_of(recording, "backup")["spec"]["volumes"]
        assert volumes == [{"name": "dumps", "persistentVolumeClaim": {"claimName": "dumps-backup"}}]
        assert {"name": "dumps", "mountPath": "/dumps"} in container_spec(recording, "backup")["volumeMounts"]
        needed = recording.get("CronJob", "backup").dependencies
        assert "kubernetes:core/v1:PersistentVolumeClaim dumps-backup" in needed

    def test_nothing_can_depend_on_a_scheduled_task(self) -> None:
        with pytest.raises(WorkloadError, match="'web' depends on 'backup', a scheduled task, which no update waits"):
            recording_of(scheduled(), workload(depends_on=("backup",)))


class TestOrder:
    @pytest.mark.parametrize("kind", CONTROLLERS)
    def test_network_policies_exist_before_the_first_pod(self, kind: type[Workload]) -> None:
        assert recording_of(minimal_workload(kind)).get(CONTROLLERS[kind], "web").dependencies >= {
            "kubernetes:core/v1:Namespace namespace",
            "kubernetes:networking.k8s.io/v1:NetworkPolicy default-deny",
            "kubernetes:networking.k8s.io/v1:NetworkPolicy web",
            "kubernetes:core/v1:ServiceAccount web",
        }

    def test_services_and_claims_exist_before_the_first_pod(self) -> None:
        assert recording_of(store(ports=(port(),))).get("StatefulSet", "store").dependencies >= {
            "kubernetes:core/v1:Service store",
            "kubernetes:core/v1:Service store-peers",
            "kubernetes:core/v1:PersistentVolumeClaim data-store-0",
        }


class TestClaims:
    def test_each_replica_has_the_claim_that_its_stateful_set_expects(self) -> None:
        recording = recording_of(store(replicas=2))
        spec = find_manifest(recording, "StatefulSet", "store")["spec"]
        (template,) = spec["volumeClaimTemplates"]
        assert {one.name for one in recording.of_type("PersistentVolumeClaim")} == {
            f"{template['metadata']['name']}-store-{ordinal}" for ordinal in range(spec["replicas"])
        }

    @pytest.mark.parametrize("protect", [True, False])
    @pytest.mark.parametrize(
        ("owner", "name"), [(store(), "data-store-0"), (scheduled(volumes=DATA), "data-backup")], ids=["store", "task"]
    )
    def test_a_claim_outlives_the_stack_and_is_protected_as_configured(
        self, owner: Workload, name: str, protect: bool
    ) -> None:
        claim = recording_of(owner, protect=protect).get("PersistentVolumeClaim", name)
        assert claim.retain_on_delete
        assert claim.protect is protect

    def test_no_other_object_of_a_workload_is_retained(self) -> None:
        recording = recording_of(
            store(), workload(file_sets=(FileSet(name="keys", directory="/keys", files={"a": "b"}),)), protect=True
        )
        kept = {one.name for one in recording.registrations if one.retain_on_delete or one.protect}
        assert kept == {"namespace", "data-store-0"}

    def test_a_resize_only_changes_the_claim(self) -> None:
        def record_resize(size_gib: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
            recording = recording_of(store(volumes=(Volume(name="data", mount="/data", size_gib=size_gib),)))
            return recording.get("PersistentVolumeClaim", "data-store-0").inputs, find_manifest(
                recording, "StatefulSet", "store"
            )

        (small, before), (large, after) = record_resize(5), record_resize(50)
        assert small["spec"]["resources"]["requests"]["storage"] == "5Gi"
        assert large["spec"]["resources"]["requests"]["storage"] == "50Gi"
        assert before == after

    def test_the_update_does_not_wait_for_a_claim(self) -> None:
        claim = find_manifest(recording_of(store()), "PersistentVolumeClaim", "data-store-0")
        assert claim["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"

    @pytest.mark.parametrize("storage_class", [None, "fast"])
    def test_a_claim_has_the_configured_storage_class(self, storage_class: str | None) -> None:
        spec = find_manifest(
            recording_of(store(), storage_class=storage_class), "PersistentVolumeClaim", "data-store-0"
        )["spec"]
        assert spec.get("storageClassName") == storage_class
        assert spec["accessModes"] == ["ReadWriteOnce"]


class TestServices:
    PORTS = (port(8080, publish=80, public=True), port(9100, "metrics"), port(8001, "admin", publish=8001))

    def test_clients_reach_all_ports_under_the_workload_name(self) -> None:
        spec = find_manifest(recording_of(workload(ports=self.PORTS)), "Service", "web")["spec"]
        assert spec["type"] == "ClusterIP"
        assert [(one["port"], one["targetPort"]) for one in spec["ports"]] == [(8080, 8080), (9100, 9100), (8001, 8001)]
        assert spec["selector"] == {"app.kubernetes.io/name": "web", "app.kubernetes.io/part-of": "pti-calendar"}

    def test_only_a_public_port_is_open_to_users(self) -> None:
        recording = recording_of(workload(ports=self.PORTS))
        spec = find_manifest(recording, "Service", "web-public")["spec"]
        assert spec["type"] == "LoadBalancer"
        assert [(one["port"], one["targetPort"]) for one in spec["ports"]] == [(80, 8080)]
        assert spec["externalTrafficPolicy"] == "Local"
        types = {one.name: one.inputs["spec"].get("type", "headless") for one in recording.of_type("Service")}
        assert types == {"web": "ClusterIP", "web-public": "LoadBalancer"}

    def test_the_load_balancer_has_the_options_of_the_workload(self) -> None:
        options = LoadBalancer(
            annotations={"scheme": "internet-facing"},
            controller="service.k8s.aws/nlb",
            keeps_client_address=False,
            source_ranges=("192.0.2.0/24",),
        )
        recording = recording_of(workload(ports=self.PORTS, load_balancer=options))
        public = find_manifest(recording, "Service", "web-public")
        assert public["metadata"]["annotations"]["scheme"] == "internet-facing"
        assert public["spec"]["loadBalancerClass"] == "service.k8s.aws/nlb"
        assert public["spec"]["externalTrafficPolicy"] == "Cluster"
        assert public["spec"]["loadBalancerSourceRanges"] == ["192.0.2.0/24"]
        assert "scheme" not in find_manifest(recording, "Service", "web")["metadata"]["annotations"]

    def test_peers_find_each_other_before_they_are_ready(self) -> None:
        recording = recording_of(store(ports=(port(9093),), peer_ports=(9093,), replicas=3))
        spec = find_manifest(recording, "Service", "store-peers")["spec"]
        assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
        assert find_manifest(recording, "StatefulSet", "store")["spec"]["serviceName"] == "store-peers"

    def test_every_pod_exports_its_metrics(self) -> None:
        # An exporter is scraped once per target.
        metrics = (Metrics(port=9100, job="frontend", workload="a"), Metrics(port=9100, job="frontend", workload="b"))
        recording = recording_of(workload(ports=self.PORTS, metrics=metrics))
        spec = find_manifest(recording, "Service", "web-pods")["spec"]
        assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
        assert [one["port"] for one in spec["ports"]] == [9100]

    def test_the_update_does_not_wait_for_services(self) -> None:
        recording = recording_of(
            workload(ports=self.PORTS, metrics=(Metrics(port=9100, job="service"),)), store(ports=(port(9093),))
        )
        waited = {one.name for one in recording.of_type("Service")} - {
            one.name
            for one in recording.of_type("Service")
            if one.inputs["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
        }
        assert waited == set()
        assert len(recording.of_type("Service")) == 5

    def test_a_workload_without_ports_has_no_service(self) -> None:
        assert recording_of(workload(), task()).of_type("Service") == []

    def test_published_addresses_are_names_in_the_cluster(self) -> None:
        backend = recording_of(namespace="pti", cluster_domain="cluster.example").result
        assert backend.addressing.fqdn("web") == "web.pti.svc.cluster.example"


class TestRefusals:
    @pytest.mark.parametrize(
        ("workloads", "reason"),
        [
            (
                [workload(host_gateway=True)],
                "workload 'web': a connection to the host is not supported on Kubernetes: a cluster can't reach a "
                "developer's machine",
            ),
            ([workload(), workload()], "workload 'web' is deployed twice"),
            (
                [workload(depends_on=("store",))],
                "workload 'web' depends on 'store', which is not deployed before it; deployed are none",
            ),
            (
                [store("web", ports=(port(),)), workload("web-peers", ports=(port(),))],
                "'web' and 'web-peers' would share the Service 'web-peers'",
            ),
        ],
        ids=["the host", "the same twice", "an unknown dependency", "a shared name"],
    )
    def test_unsupported_features_are_refused(self, workloads: list[Workload], reason: str) -> None:
        with pytest.raises(WorkloadError) as refused:
            recording_of(*workloads)
        assert str(refused.value) == reason

    def test_a_container_is_named_after_its_workload(self) -> None:
        assert container_spec(recording_of(workload()))["name"] == "web"

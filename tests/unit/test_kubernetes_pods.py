"""Pod settings and restrictions that the Kubernetes backend applies to a workload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.kubernetes_recording import (
    CONTROLLERS,
    container_spec,
    minimal_workload,
    pod_template_of,
    port,
    recording_of,
    stateful,
    task,
    workload,
)
from workloads import (
    RECOVERY_S,
    Check,
    Exec,
    FileSet,
    HttpGet,
    Liveness,
    Probe,
    Scratch,
    Service,
    StatefulService,
    TcpConnect,
    Volume,
    Workload,
)

EVERY_KIND = pytest.mark.parametrize("kind", CONTROLLERS)

POD_FIELDS: Mapping[str, Any] = {
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "serviceAccountName": "web",
}
POD_SECURITY_CONTEXT: Mapping[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": 70,
    "runAsGroup": 70,
    "fsGroup": 70,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY_CONTEXT: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


class TestHardening:
    @EVERY_KIND
    @pytest.mark.parametrize("key", POD_FIELDS)
    def test_a_pod_has_no_api_token_and_no_service_environment_variables(self, kind: type[Workload], key: str) -> None:
        assert pod_template_of(recording_of(minimal_workload(kind)))["spec"][key] == POD_FIELDS[key]

    @EVERY_KIND
    @pytest.mark.parametrize("key", POD_SECURITY_CONTEXT)
    def test_a_pod_runs_as_its_user_under_the_runtimes_profile(self, kind: type[Workload], key: str) -> None:
        security = pod_template_of(recording_of(minimal_workload(kind, user=70)))["spec"]["securityContext"]
        assert security[key] == POD_SECURITY_CONTEXT[key]

    @EVERY_KIND
    @pytest.mark.parametrize("key", CONTAINER_SECURITY_CONTEXT)
    def test_a_container_has_no_capabilities(self, kind: type[Workload], key: str) -> None:
        security = container_spec(recording_of(minimal_workload(kind)))["securityContext"]
        assert security[key] == CONTAINER_SECURITY_CONTEXT[key]

    @pytest.mark.parametrize(
        ("check", "shared"), [(Exec(command=("ready",)), True), (TcpConnect(port=80), None)], ids=["command", "port"]
    )
    @pytest.mark.parametrize("kind", ["readiness", "liveness"])
    def test_processes_of_a_killed_check_are_not_children_of_the_server(
        self, kind: str, check: Check, shared: bool | None
    ) -> None:
        """PostgreSQL interprets the exit of an unknown child process of process 1 as a crash
        (docker-library/postgres#1349)."""
        checks: dict[str, Any] = {"readiness": Probe(check=TcpConnect(port=80))}
        checks[kind] = Probe(check=check) if kind == "readiness" else Liveness(check=check, startup_s=60)
        spec = pod_template_of(recording_of(workload(ports=(port(80),), **checks)))["spec"]
        assert spec.get("shareProcessNamespace") is shared

    def test_only_a_workload_that_requires_it_has_a_writable_root(self) -> None:
        recording = recording_of(workload(read_only_root=False))
        assert container_spec(recording)["securityContext"]["readOnlyRootFilesystem"] is False

    @EVERY_KIND
    def test_the_service_account_of_a_pod_has_no_permissions(self, kind: type[Workload]) -> None:
        account = recording_of(minimal_workload(kind)).get("ServiceAccount", "web").inputs
        assert account["automountServiceAccountToken"] is False
        assert account["metadata"]["name"] == "web"
        assert "imagePullSecrets" not in account

    def test_images_are_pulled_with_the_secrets_of_the_settings(self) -> None:
        account = recording_of(workload(), image_pull_secrets=("registry",)).get("ServiceAccount", "web").inputs
        assert account["imagePullSecrets"] == [{"name": "registry"}]

    @EVERY_KIND
    def test_the_resources_of_a_container_are_limited(self, kind: type[Workload]) -> None:
        recording = recording_of(minimal_workload(kind, memory_mib=2048, cpu_request=0.25))
        assert container_spec(recording)["resources"] == {
            "requests": {"cpu": "250m", "memory": "2Gi"},
            "limits": {"memory": "2Gi"},
        }

    @EVERY_KIND
    def test_the_last_log_lines_of_a_container_are_in_the_error(self, kind: type[Workload]) -> None:
        assert (
            container_spec(recording_of(minimal_workload(kind)))["terminationMessagePolicy"] == "FallbackToLogsOnError"
        )


class TestImage:
    def test_the_image_is_pulled_from_the_mirror_of_its_registry(self) -> None:
        assert container_spec(recording_of(workload()))["image"] == "web:1.0"
        mirrors = {"docker.io": "registry.example.com/mirror"}
        mirrored = recording_of(workload(), mirrors=mirrors)
        assert container_spec(mirrored)["image"] == "registry.example.com/mirror/library/web:1.0"
        own = recording_of(workload(has_upstream_image=False), mirrors=mirrors)
        assert container_spec(own)["image"] == "web:1.0"

    def test_a_present_image_is_not_pulled_again(self) -> None:
        assert container_spec(recording_of(workload()))["imagePullPolicy"] == "IfNotPresent"

    def test_the_images_command_is_used_unless_the_workload_sets_one(self) -> None:
        assert (
            container_spec(recording_of(workload())).keys() & {"command", "args", "env", "ports", "volumeMounts"}
            == set()
        )
        container = container_spec(recording_of(workload(command=("run",), arguments=("--fast",))))
        assert (container["command"], container["args"]) == (["run"], ["--fast"])


class TestProbes:
    READY = Probe(check=TcpConnect(port=8080), startup_s=101, period_s=5, timeout_s=4, failures=2)

    @pytest.mark.parametrize(
        ("check", "action"),
        [
            (Exec(command=("ready", "--now")), {"exec": {"command": ["ready", "--now"]}}),
            (HttpGet(port=8080, path="/ready"), {"httpGet": {"path": "/ready", "port": 8080}}),
            (TcpConnect(port=8080), {"tcpSocket": {"port": 8080}}),
        ],
    )
    def test_each_kind_of_check_becomes_its_kind_of_probe(self, check: Check, action: Mapping[str, Any]) -> None:
        container = container_spec(
            recording_of(workload(ports=(port(),), readiness=Probe(check=check), liveness=Liveness(check=check)))
        )
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe].items() >= action.items()

    def test_a_container_is_killed_after_the_startup_time_of_its_liveness(self) -> None:
        alive = Liveness(check=Exec(command=("alive",)), startup_s=1001, period_s=11, timeout_s=7)
        container = container_spec(recording_of(workload(ports=(port(),), readiness=self.READY, liveness=alive)))
        assert container["startupProbe"] == {
            "exec": {"command": ["alive"]},
            # 201 times 5 seconds: 200 would end before the allowed 1001 seconds.
            "failureThreshold": 201,
            "periodSeconds": 5,
            "timeoutSeconds": 7,
        }

    def test_a_recovery_has_no_practical_limit(self) -> None:
        alive = Liveness(check=TcpConnect(port=8080), startup_s=RECOVERY_S)
        probe = container_spec(recording_of(workload(ports=(port(),), readiness=self.READY, liveness=alive)))[
            "startupProbe"
        ]
        assert probe["failureThreshold"] * probe["periodSeconds"] == 24 * 60 * 60

    def test_a_container_is_probed_with_its_period(self) -> None:
        alive = Liveness(check=TcpConnect(port=8080), period_s=11, timeout_s=7, failures=9)
        container = container_spec(recording_of(workload(ports=(port(),), readiness=self.READY, liveness=alive)))
        assert container["readinessProbe"].items() >= {
            ("periodSeconds", 5),
            ("timeoutSeconds", 4),
            ("failureThreshold", 2),
        }
        assert container["livenessProbe"].items() >= {
            ("periodSeconds", 11),
            ("timeoutSeconds", 7),
            ("failureThreshold", 9),
        }

    def test_a_workload_without_a_liveness_probe_is_never_killed(self) -> None:
        container = container_spec(recording_of(workload(ports=(port(),), readiness=self.READY)))
        assert {probe for probe in container if probe.endswith("Probe")} == {"readinessProbe"}


class TestStop:
    def test_a_terminating_service_keeps_serving_until_clients_are_rerouted(self) -> None:
        recording = recording_of(workload(ports=(port(),), stop_grace_s=10))
        assert container_spec(recording)["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
        # The preStop pause counts towards the termination grace period.
        assert pod_template_of(recording)["spec"]["terminationGracePeriodSeconds"] == 15

    @pytest.mark.parametrize("other", [stateful(ports=(port(),), stop_grace_s=60), task("web", stop_grace_s=60)])
    def test_nothing_else_delays_the_stop_of_a_pod(self, other: Workload) -> None:
        recording = recording_of(other)
        assert "lifecycle" not in container_spec(recording)
        assert pod_template_of(recording)["spec"]["terminationGracePeriodSeconds"] == 60


class TestPlacement:
    @pytest.mark.parametrize("kind", [Service, StatefulService])
    def test_replicas_are_spread_over_nodes(self, kind: type[Workload]) -> None:
        pod = pod_template_of(recording_of(minimal_workload(kind, replicas=3)))
        (spread,) = pod["spec"]["topologySpreadConstraints"]
        assert spread["topologyKey"] == "kubernetes.io/hostname"
        assert (spread["maxSkew"], spread["whenUnsatisfiable"]) == (1, "ScheduleAnyway")
        assert spread["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


class TestDisk:
    def test_scratch_is_a_memory_volume_of_its_size(self) -> None:
        recording = recording_of(workload(scratch=(Scratch(path="/cache", size_mib=64), Scratch(path="/run"))))
        volumes = {one["name"]: one["emptyDir"] for one in pod_template_of(recording)["spec"]["volumes"]}
        mounted = {one["mountPath"]: volumes[one["name"]] for one in container_spec(recording)["volumeMounts"]}
        assert mounted == {
            "/cache": {"medium": "Memory", "sizeLimit": "64Mi"},
            "/run": {"medium": "Memory", "sizeLimit": "16Mi"},
        }

    def test_a_persistent_volume_is_mounted_at_its_path(self) -> None:
        store = stateful("store", volumes=(Volume(name="data", mount="/data"),))
        recording = recording_of(store)
        (mount,) = container_spec(recording, "store")["volumeMounts"]
        (template,) = recording.get("StatefulSet", "store").inputs["spec"]["volumeClaimTemplates"]
        assert mount == {"name": template["metadata"]["name"], "mountPath": "/data"}

    def test_an_existing_secret_is_mounted_by_its_name(self) -> None:
        recording = recording_of(workload(file_sets=(FileSet(name="tls", directory="/tls", external_secret="edge"),)))
        (volume,) = pod_template_of(recording)["spec"]["volumes"]
        assert volume["secret"]["secretName"] == "edge"
        assert recording.of_type("Secret") == []


class TestEnvironment:
    def test_variables_are_sorted(self) -> None:
        environment = container_spec(recording_of(workload(environment={"B": "2", "A": "1"})))["env"]
        assert environment == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]

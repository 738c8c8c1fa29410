"""How the Docker backend configures a workload's resources."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
from collections.abc import Mapping
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime.rpc import UNKNOWN

from backends.base import DeployOptions
from backends.docker.backend import DockerBackend
from backends.docker.engine import Engine
from backends.docker.health import HTTP_GET_SCRIPT
from backends.docker.ports import PortsTaken
from operations.render.compose import compose_file
from recording.recorder import ProviderMock, Recording, Registration, default_provider_mock, record
from settings import parse
from settings.backend import BackendSettings, ImagesSettings
from tests.unit.conftest import FULL_DOCKER, Deploy
from tests.unit.platform_recording import pulumi_config
from workloads import (
    INTERNET,
    Autoscaling,
    Check,
    Endpoint,
    Exec,
    ExternalEndpoint,
    FileSet,
    HttpGet,
    Liveness,
    LoadBalancer,
    Metrics,
    Port,
    Probe,
    ScheduledTask,
    Scratch,
    Service,
    StatefulService,
    Task,
    TcpConnect,
    Volume,
    Workload,
    WorkloadError,
)

READY = Probe(check=Exec(command=("ready", "--now")), startup_s=100, period_s=5, timeout_s=4, failures=3)

STORE = Endpoint("store", 6379)

OWNERSHIP_HOOK = "docker-refuse-foreign-object"


def workload(name: str = "web", **fields: Any) -> Service:
    """Return a service with only the required fields."""
    return Service(**{"name": name, "image": f"{name}:1.0", "user": 1000, "memory_mib": 64, **fields})


def callee(name: str = "store", *numbers: int, **fields: Any) -> Service:
    """Return a workload that listens, on Redis' port by default."""
    ports = tuple(Port(name=f"port-{number}", number=number) for number in numbers or (STORE.port,))
    return workload(name, ports=ports, **fields)


def stateful(name: str = "web", **fields: Any) -> StatefulService:
    """Return a stateful service with only the required fields."""
    return StatefulService(**{"name": name, "image": f"{name}:1.0", "user": 1000, "memory_mib": 64, **fields})


def task(**fields: Any) -> Task:
    """Return a task with only the required fields."""
    required = {"name": "migrate", "image": "migrate:1.0", "user": 1000, "memory_mib": 64}
    return Task(**{**required, "command": ("migrate", "--all"), **fields})


def scheduled(**fields: Any) -> ScheduledTask:
    """Return a scheduled task with only the required fields."""
    required = {"name": "backup", "image": "postgres:18.6", "user": 999, "memory_mib": 64, "schedule": "30 2 * * *"}
    return ScheduledTask(**{**required, "command": ("pg_dump", "--all"), **fields})


def files(name: str = "configuration", directory: str = "/etc/web", **fields: Any) -> FileSet:
    """Return a set of two files."""
    return FileSet(**{"name": name, "directory": directory, "files": {"b.conf": "B", "a.conf": "A"}, **fields})


def record_deployment(
    *workloads: Workload,
    stack: str = "dev",
    protect: bool = False,
    mirrors: Mapping[str, str] | None = None,
    mock: ProviderMock = default_provider_mock,
    preview: bool = False,
    **backend: Any,
) -> Recording[DockerBackend]:
    """Deploy workloads on a new backend, with a parent component."""

    def program() -> DockerBackend:
        docker = DockerBackend(
            BackendSettings(**backend), ImagesSettings(mirrors=mirrors or {}), stack=stack, protect=protect
        )
        parent = pulumi.ComponentResource("test:index:Parent", "parent")
        for one in workloads:
            docker.deploy(one, DeployOptions(parent=parent))
        return docker

    return record(program, mock=mock, stack=stack, preview=preview)


def container(recording: Recording[Any], name: str = "web") -> Mapping[str, Any]:
    """Return the inputs of a container."""
    return recording.get("Container", name).inputs


def labels(registration: Registration) -> dict[str, str]:
    """Return a container's labels and their values."""
    return {one["label"]: one["value"] for one in registration.inputs["labels"]}


def networks(recording: Recording[Any], name: str) -> set[str]:
    """Return the networks that a container joins, by their names on the engine."""
    return {one["name"].removeprefix("id-of-") for one in container(recording, name).get("networksAdvanced", [])}


def uploaded_files(registration: Registration) -> dict[str, str]:
    """Return the path and content of each file uploaded into a container."""
    return {one["file"]: one["content"] for one in registration.inputs["uploads"]}


class TestNetworks:
    def test_only_clients_of_a_workload_join_its_network(self) -> None:
        recording = record_deployment(
            callee(),
            callee("other", 80),
            callee("api", 80, connects_to=(STORE,)),
            callee("web", 80, connects_to=(Endpoint("api", 80), Endpoint("other", 80))),
        )
        assert networks(recording, "store") == {"pti-store-dev"}
        assert networks(recording, "other") == {"pti-other-dev"}
        assert networks(recording, "api") == {"pti-api-dev", "pti-store-dev"}
        assert networks(recording, "web") == {"pti-web-dev", "pti-api-dev", "pti-other-dev"}

    def test_depending_on_a_workload_does_not_connect_to_it(self) -> None:
        recording = record_deployment(workload("store", readiness=READY), workload("web", depends_on=("store",)))
        assert networks(recording, "web") == {"pti-web-dev"}

    def test_a_workload_without_ports_gets_no_network(self) -> None:
        recording = record_deployment(callee(), workload("web", connects_to=(STORE,)))
        assert networks(recording, "web") == {"pti-store-dev"}
        assert [one.name for one in recording.of_type("Network")] == ["store"]

    def test_no_two_networks_of_the_whole_platform_share_an_address(self, deploy: Deploy) -> None:
        found = deploy(FULL_DOCKER).of_type("Network")
        ranges = [IPv4Network(one.inputs["ipamConfigs"][0]["subnet"]) for one in found]
        assert len(ranges) > 20
        assert not [(one, other) for one, other in combinations(ranges, 2) if one.overlaps(other)]

    def test_the_name_of_a_workload_only_resolves_in_its_own_network(self) -> None:
        recording = record_deployment(callee(), callee("web", 80, connects_to=(STORE,)))
        aliases = {one["name"]: one.get("aliases") for one in container(recording)["networksAdvanced"]}
        assert aliases == {"id-of-pti-web-dev": ["web"], "id-of-pti-store-dev": None}

    def test_two_ports_of_one_workload_share_a_network(self) -> None:
        recording = record_deployment(
            callee("store", 6379, 9121), callee("web", 80, connects_to=(STORE, Endpoint("store", 9121)))
        )
        assert [one["name"] for one in container(recording)["networksAdvanced"]] == [
            "id-of-pti-web-dev",
            "id-of-pti-store-dev",
        ]

    def test_an_external_server_needs_no_network(self) -> None:
        recording = record_deployment(
            workload(connects_to=(INTERNET, ExternalEndpoint("db.example.com", 5432, ("10.0.0.0/8",))))
        )
        assert networks(recording, "web") == {"pti-web-dev"}

    def test_the_host_has_a_name_for_workloads_that_connect_to_it(self) -> None:
        recording = record_deployment(workload(host_gateway=True), callee("other", 80))
        assert container(recording)["hosts"] == [{"host": "host.docker.internal", "ip": "host-gateway"}]
        assert "hosts" not in container(recording, "other")

    def test_the_name_of_a_workload_needs_no_domain(self) -> None:
        assert record_deployment(workload()).result.addressing.fqdn("web") == "web"

    def test_every_container_reaches_only_its_declared_connections(self, dev: Recording[Any]) -> None:
        assert {
            name: {network.removeprefix("pti-").removesuffix("-dev") for network in networks(dev, name)}
            for name in (one.name for one in dev.of_type("Container") if one.inputs.get("networksAdvanced"))
        } == {
            "postgres": {"postgres"},
            "databases": {"postgres"},
            "redis": {"redis"},
            "zookeeper": {"zookeeper"},
            "kafka": {"kafka", "zookeeper"},
            "pgadmin": {"pgadmin", "postgres"},
            "kafka-ui": {"kafka-ui", "kafka"},
            "redis-commander": {"redis-commander", "redis"},
        }


class TestStartOrder:
    def test_a_dependent_is_created_after_the_container_it_needs(self) -> None:
        recording = record_deployment(workload("store", readiness=READY), workload("web", depends_on=("store",)))
        assert "docker:index/container:Container store" in recording.get("Container", "web").dependencies

    def test_a_client_without_dependencies_does_not_wait(self) -> None:
        recording = record_deployment(callee(readiness=READY), workload("web", connects_to=(STORE,)))
        assert "docker:index/container:Container store" not in recording.get("Container", "web").dependencies

    def test_dependents_do_not_wait_for_a_container_without_a_probe(self) -> None:
        recording = record_deployment(workload())
        inputs = container(recording)
        assert inputs["wait"] is False
        assert "waitTimeout" not in inputs
        assert "healthcheck" not in inputs
        assert "web-ready" not in {one.name for one in recording.of_type("Stash")}

    @pytest.mark.parametrize(
        ("check", "command"),
        [
            (Exec(command=("ready", "--now")), ["CMD", "ready", "--now"]),
            (
                HttpGet(port=80, path="/health?full=1"),
                [
                    "CMD-SHELL",
                    "if command -v wget > /dev/null; then "
                    "wget -q -O /dev/null 'http://127.0.0.1:80/health?full=1'; "
                    "elif command -v curl > /dev/null; then "
                    "curl -fsS -o /dev/null 'http://127.0.0.1:80/health?full=1'; "
                    f"else bash -c {shlex.quote(HTTP_GET_SCRIPT)} ask 80 '/health?full=1'; fi",
                ],
            ),
            (
                TcpConnect(port=80),
                [
                    "CMD-SHELL",
                    "bash -c '</dev/tcp/127.0.0.1/80' || nc -z 127.0.0.1 80 "
                    "|| grep -q ':0050 0*:0000 0A ' /proc/net/tcp /proc/net/tcp6 2> /dev/null",
                ],
            ),
        ],
        ids=["a command", "HTTP", "TCP"],
    )
    def test_a_probe_becomes_a_health_check(self, check: Check, command: list[str]) -> None:
        probe = Probe(check=check, startup_s=60, period_s=5, timeout_s=4, failures=3)
        inputs = container(record_deployment(workload(readiness=probe, ports=(Port(name="http", number=80),))))
        # Twelve failures, five seconds apart: the container isn't unhealthy before its startup time is over.
        assert inputs["healthcheck"] == {"tests": command, "interval": "5s", "timeout": "4s", "retries": 12}

    def test_a_probe_may_fail_its_configured_number_of_times(self) -> None:
        probe = Probe(check=READY.check, startup_s=10, period_s=5, failures=7)
        assert container(record_deployment(workload(readiness=probe)))["healthcheck"]["retries"] == 7


class TestLiveness:
    """tests/engine/test_liveness.py covers a real container."""

    ALIVE = Liveness(check=Exec(command=("alive",)), startup_s=900, period_s=10, timeout_s=6, failures=6)

    def test_one_health_check_runs_both_probes(self) -> None:
        check = container(record_deployment(workload(readiness=READY, liveness=self.ALIVE)))["healthcheck"]
        assert check["tests"][:3] == ["CMD", "sh", "-c"]
        # Twelve checks: sixty seconds at intervals of five seconds.
        assert check["tests"][4:] == ["watch", "ready --now", "4", "alive", "6", "12", "900", "5"]
        assert (check["interval"], check["timeout"], check["retries"]) == ("5s", "16s", 20)

    @pytest.mark.parametrize(
        ("failures", "liveness_s", "readiness_s", "runs"),
        [(3, 10, 10, 3), (1, 10, 30, 1), (2, 10, 15, 2), (6, 5, 2, 15)],
    )
    def test_failures_are_allowed_during_the_start_up_time(
        self, failures: int, liveness_s: int, readiness_s: int, runs: int
    ) -> None:
        ready = Probe(check=READY.check, period_s=readiness_s)
        alive = Liveness(check=READY.check, period_s=liveness_s, failures=failures)
        tests = container(record_deployment(workload(readiness=ready, liveness=alive)))["healthcheck"]["tests"]
        assert tests[-3] == str(runs)

    def test_commands_keep_their_quoting(self) -> None:
        words = ("sh", "-c", """test "$1" = 'it is'""", "test", "it is")
        probe = Probe(check=Exec(command=words), timeout_s=9)
        tests = container(record_deployment(workload(readiness=probe, liveness=Liveness(check=Exec(command=words)))))[
            "healthcheck"
        ]["tests"]
        for line in (tests[5], tests[7]):
            assert shlex.split(line) == list(words)

    def test_a_workload_without_a_liveness_probe_is_never_killed(self) -> None:
        assert container(record_deployment(workload(readiness=READY)))["healthcheck"]["tests"] == [
            "CMD",
            "ready",
            "--now",
        ]


class TestTasks:
    def test_a_task_keeps_running_after_success_and_exits_with_its_code_after_failure(self) -> None:
        inputs = container(record_deployment(task(arguments=("now",))), "migrate")
        script = 'if "$@"; then : > /dev/shm/task-succeeded; exec sleep infinity; else exit "$?"; fi'
        assert inputs["entrypoints"] == ["sh", "-c", script, "task", "migrate", "--all"]
        assert inputs["command"] == ["now"]
        assert inputs["restart"] == "no"

    def test_the_creation_of_a_task_waits_for_its_success_until_its_timeout(self) -> None:
        inputs = container(record_deployment(task(timeout_s=90)), "migrate")
        assert (inputs["wait"], inputs["waitTimeout"]) == (True, 90)
        check = inputs["healthcheck"]
        assert (check["interval"], check["retries"]) == ("2s", 46)

    def test_a_dependent_of_a_task_waits_for_it(self) -> None:
        recording = record_deployment(task(), workload("web", depends_on=("migrate",)))
        assert "docker:index/container:Container migrate" in recording.get("Container", "web").dependencies

    def test_a_service_that_exits_is_restarted(self) -> None:
        assert container(record_deployment(workload()))["restart"] == "unless-stopped"


class TestScheduledTasks:
    """`tests/artifacts/test_scheduler.py` runs the scheduler itself."""

    def test_its_container_keeps_running_and_the_update_waits_for_no_run(self) -> None:
        recording = record_deployment(scheduled(stop_grace_s=45))
        inputs = container(recording, "backup")
        assert inputs["entrypoints"] == ["sh", "/etc/pti-calendar/schedule/scheduler.sh", "serve"]
        assert (inputs["restart"], inputs["wait"], inputs["stopTimeout"]) == ("unless-stopped", False, 45)
        assert inputs["healthcheck"]["tests"] == ["CMD", "sh", "/etc/pti-calendar/schedule/scheduler.sh", "check"]

    def test_the_scheduler_gets_the_task(self, tmp_path: Path) -> None:
        one = scheduled(
            command=("sh", "-c", 'echo "$1"', "sh"), arguments=("it's here",), timeout_s=90, start_deadline_s=600
        )
        uploaded = uploaded_files(record_deployment(one).get("Container", "backup-schedule"))
        (tmp_path / "task.sh").write_text(uploaded["/etc/pti-calendar/schedule/task.sh"])
        script = '. ./task.sh; echo "$schedule|$start_deadline_s|$timeout_s|$stop_grace_s|$state_dir"; with_task env'
        done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout == "30 2 * * *|600|90|10|/var/tmp/schedule\nit's here\n"

    def test_its_volumes_and_the_state_of_its_schedule_are_persistent(self) -> None:
        recording = record_deployment(scheduled(volumes=(Volume(name="dumps", mount="/dumps"),)), protect=True)
        mounts = {one["target"]: one["source"] for one in container(recording, "backup")["mounts"]}
        assert mounts["/dumps"] == "pti-dumps-dev"
        assert mounts["/var/tmp"] == "pti-backup-runs-dev"  # noqa: S108 - in the container
        for name in ("dumps", "backup-runs"):
            volume = next(one for one in recording.of_type("Volume") if one.inputs["name"] == f"pti-{name}-dev")
            assert (volume.retain_on_delete, volume.protect) == (True, True)
        assert recording.get("Stash", "backup-data-settings").inputs["input"].keys() == {"dumps", "backup-runs"}

    def test_a_label_has_the_schedule(self) -> None:
        recording = record_deployment(scheduled(), workload())
        assert labels(recording.get("Container", "backup"))["pti-calendar.schedule"] == "30 2 * * *"
        assert "pti-calendar.schedule" not in labels(recording.get("Container", "web"))

    def test_it_is_listed_as_declared_and_connects_like_any_workload(self) -> None:
        one = scheduled(connects_to=(STORE,), depends_on=("store",))
        recording = record_deployment(callee(), one)
        assert recording.result.deployed[1] is one
        assert networks(recording, "backup") == {"pti-store-dev"}
        assert "docker:index/container:Container store" in recording.get("Container", "backup").dependencies

    def test_nothing_can_depend_on_it(self) -> None:
        with pytest.raises(WorkloadError, match="'web' depends on 'backup', a scheduled task, which no update waits"):
            record_deployment(scheduled(), workload(depends_on=("backup",)))


class TestHardening:
    @pytest.fixture
    def running(self, dev: Recording[Any]) -> list[Registration]:
        """Every container that the dev stack runs, including tasks."""
        found = [one for one in dev.of_type("Container") if one.inputs.get("start") is not False]
        assert {one.name for one in found} >= {"postgres", "databases", "redis", "kafka", "zookeeper", "pgadmin"}
        return found

    def test_every_running_container_has_a_read_only_root(self, running: list[Registration]) -> None:
        assert [one.name for one in running if one.inputs.get("readOnly") is not True] == []

    def test_a_workload_can_request_a_writable_root(self) -> None:
        assert container(record_deployment(workload(read_only_root=False)))["readOnly"] is False

    def test_no_running_container_has_a_capability(self, running: list[Registration]) -> None:
        assert [one.name for one in running if one.inputs.get("capabilities") != {"drops": ["ALL"]}] == []

    def test_no_running_container_gains_privileges(self, running: list[Registration]) -> None:
        assert [one.name for one in running if one.inputs.get("securityOpts") != ["no-new-privileges:true"]] == []
        assert [one.name for one in running if "privileged" in one.inputs] == []

    def test_no_running_container_runs_as_root(self, running: list[Registration]) -> None:
        users = {one.name: one.inputs["user"].split(":") for one in running}
        assert [name for name, ids in users.items() if ids[0] != ids[1] or int(ids[0]) == 0] == []

    def test_a_container_runs_as_the_user_and_group_of_the_workload(self) -> None:
        assert container(record_deployment(workload(user=70)))["user"] == "70:70"

    def test_no_running_container_swaps(self, running: list[Registration]) -> None:
        limits = {one.name: (one.inputs["memory"], one.inputs["memorySwap"]) for one in running}
        assert [name for name, (memory, with_swap) in limits.items() if memory != with_swap or memory <= 0] == []

    def test_a_container_has_a_memory_limit_but_no_cpu_limit(self) -> None:
        inputs = container(record_deployment(workload(memory_mib=96)))
        assert (inputs["memory"], "cpus" in inputs) == (96, False)

    @pytest.mark.parametrize(
        ("cores", "shares"), [(1.0, 1024), (0.25, 256), (2.5, 2560), (0.05, 51), (0.001, 2), (0, 2)]
    )
    def test_a_cpu_request_becomes_cpu_shares(self, cores: float, shares: int) -> None:
        assert container(record_deployment(workload(cpu_request=cores)))["cpuShares"] == shares

    def test_every_running_container_has_cpu_shares(self, running: list[Registration]) -> None:
        assert [one.name for one in running if one.inputs.get("cpuShares", 0) < 2] == []

    def test_every_running_container_has_a_stop_timeout(self) -> None:
        inputs = container(record_deployment(workload(stop_grace_s=45)))
        assert (inputs["stopTimeout"], inputs["destroyGraceSeconds"]) == (45, 45)

    def test_log_sizes_are_limited(self, running: list[Registration]) -> None:
        drivers = {one.name: (one.inputs["logDriver"], one.inputs["logOpts"]) for one in running}
        assert drivers == dict.fromkeys(drivers, ("json-file", {"max-size": "10m", "max-file": "3"}))


class TestFileSets:
    def test_files_are_copied_by_a_container_that_never_starts(self) -> None:
        uploader = record_deployment(workload(file_sets=(files(),))).get("Container", "web-configuration")
        assert uploader.inputs["start"] is False
        assert uploader.inputs["mustRun"] is False
        assert uploader.inputs["networkMode"] == "none"
        assert "networksAdvanced" not in uploader.inputs
        assert uploaded_files(uploader) == {"/etc/web/a.conf": "A", "/etc/web/b.conf": "B"}
        assert {one["permissions"] for one in uploader.inputs["uploads"]} == {"0444"}

    def test_the_uploader_mounts_over_volumes_that_the_image_may_declare(self) -> None:
        """The engine creates an anonymous volume for each declared path without a mount."""
        several = stateful(
            volumes=(Volume(name="data", mount="/data"),),
            scratch=(Scratch(path="/logs"), Scratch(path="/etc")),
            file_sets=(files(),),
        )
        uploader = record_deployment(several).get("Container", "web-configuration")
        # The workload's own files are in /etc.
        assert uploader.inputs["tmpfs"].keys() == {"/data", "/logs"}
        assert uploader.replace_on_changes == ("tmpfs",)

    def test_the_uploader_and_the_workload_mount_one_volume_in_one_place(self) -> None:
        recording = record_deployment(workload(file_sets=(files(),)))
        volume = recording.get("Volume", "web-configuration").inputs["name"]
        mount = {"type": "volume", "source": volume, "target": "/etc/web"}
        assert container(recording)["mounts"] == [mount]
        assert container(recording, "web-configuration")["mounts"] == [mount]

    def test_new_contents_replace_the_containers_that_mount_them(self) -> None:
        recording = record_deployment(workload(file_sets=(files(), files("keys", "/run/keys/web"))))
        found = labels(recording.get("Container", "web"))
        assert found["pti-calendar.files.etc.web"] == "id-of-pti-web-configuration-dev"
        assert found["pti-calendar.files.run.keys.web"] == "id-of-pti-web-keys-dev"

    def test_in_a_preview_only_the_value_of_the_label_of_new_contents_is_unknown(self) -> None:
        """If all labels were unknown, the provider would plan an update in place of a replacement."""

        def without_id(type_: str, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
            id_, outputs = default_provider_mock(type_, inputs)
            return ("" if id_ == "id-of-pti-web-configuration-dev" else id_), outputs

        web = workload(file_sets=(files(),))
        known = labels(record_deployment(web, preview=True).get("Container", "web"))
        found = labels(record_deployment(web, preview=True, mock=without_id).get("Container", "web"))
        assert found == known | {"pti-calendar.files.etc.web": UNKNOWN}

    def test_a_removed_file_disappears(self) -> None:
        def volume(names: str) -> str:
            file_set = files(files=dict.fromkeys(names, "content"))
            return str(
                record_deployment(workload(file_sets=(file_set,))).get("Volume", "web-configuration").inputs["name"]
            )

        assert volume("ab") == volume("ba")
        assert len({volume("ab"), volume("a"), volume("abc")}) == 3

    def test_contents_are_secret_if_the_file_set_is(self) -> None:
        recording = record_deployment(workload(file_sets=(files(), files("keys", "/run/keys", secret=True))))
        assert recording.get("Container", "web-configuration").secret == frozenset()
        assert recording.get("Container", "web-keys").secret == {"uploads"}

    def test_secret_contents_appear_nowhere_else(self) -> None:
        keys = files("keys", "/run/keys", files={"key": "hunter2"}, secret=True)
        recording = record_deployment(workload(file_sets=(keys,)))
        assert [str(one) for one in recording.registrations if "hunter2" in json.dumps(one.inputs)] == [
            "docker:index/container:Container web-keys"
        ]

    def test_variables_are_sorted(self) -> None:
        assert container(record_deployment(workload(environment={"B": "2", "A": "1"})))["envs"] == ["A=1", "B=2"]

    def test_every_password_of_the_platform_reaches_the_engine_as_a_secret(self, deploy: Deploy) -> None:
        supplied = {"postgresPassword": "hunter2pg", "redisPassword": "hunter2redis", "pgAdminPassword": "hunter2ui"}
        recording = deploy({"devTools": {"enabled": True}}, supplied)
        revealed: list[str] = []
        held: set[str] = set()

        def collect_secrets(one: Registration, value: Any, path: str) -> None:
            if isinstance(value, dict | list):
                for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
                    collect_secrets(one, inner, f"{path}.{key}".lstrip("."))
            elif "hunter2" in str(value):
                held.add(one.name)
                if path.partition(".")[0] not in one.secret:
                    revealed.append(f"{one} {path}")

        for registration in recording.registrations:
            collect_secrets(registration, registration.inputs, "")
        assert revealed == []
        assert held == {
            "postgres-admin",
            "databases-admin",
            "redis-password",
            "pgadmin-passwords",
            "redis-commander-configuration",
        }


class TestVolumes:
    STATEFUL = stateful("store", volumes=(Volume(name="store-data", mount="/data"),))

    @pytest.mark.parametrize("protect", [True, False])
    def test_a_persistent_volume_outlives_the_stack_and_is_protected_if_configured(self, protect: bool) -> None:
        volume = record_deployment(self.STATEFUL, protect=protect).get("Volume", "store-data")
        assert volume.retain_on_delete
        assert volume.protect is protect

    def test_a_file_volume_is_deleted_with_the_stack(self) -> None:
        volume = record_deployment(workload(file_sets=(files(),)), protect=True).get("Volume", "web-configuration")
        assert (volume.retain_on_delete, volume.protect) == (False, False)

    def test_a_persistent_volume_is_mounted_at_its_path(self) -> None:
        assert container(record_deployment(self.STATEFUL), "store")["mounts"] == [
            {"type": "volume", "source": "pti-store-data-dev", "target": "/data"}
        ]

    def test_a_label_distinguishes_data_volumes_from_file_volumes(self) -> None:
        recording = record_deployment(self.STATEFUL, workload(file_sets=(files(),)))
        assert {one.name: labels(one)["pti-calendar.data"] for one in recording.of_type("Volume")} == {
            "store-data": "persistent",
            "web-configuration": "files",
        }

    def test_scratch_is_memory_that_belongs_to_the_user(self) -> None:
        scratch = (Scratch(path="/tmp"), Scratch(path="/cache", size_mib=64))  # noqa: S108 - in the container
        assert container(record_deployment(workload(user=70, scratch=scratch)))["tmpfs"] == {
            "/tmp": "rw,exec,nosuid,nodev,size=16m,mode=1777,uid=70,gid=70",  # noqa: S108 - in the container
            "/cache": "rw,exec,nosuid,nodev,size=64m,mode=1777,uid=70,gid=70",
        }

    def test_no_setting_changes_a_persistent_volume(self, deploy: Deploy) -> None:
        before, after = deploy(DEFAULT_VALUES), deploy(CHANGED_VALUES)
        data = persistent_volumes(before)
        stores = {"postgres-data", "redis-data", "kafka-zookeeper-data", "zookeeper-data", "zookeeper-log"}
        drill = {"drill-data", "restore-drill-runs"}
        assert data.keys() == {*stores, *drill, "backup-data", "backup-runs", "archive-data"}
        assert persistent_volumes(after) == data

    def test_the_changed_configuration_differs_in_every_setting(self) -> None:
        def leaves(value: Any, path: str = "") -> dict[str, Any]:
            if isinstance(value, dict):
                return {k: v for key, one in value.items() for k, v in leaves(one, f"{path}.{key}").items()}
            return {path: value}

        before = leaves(parse(pulumi_config(DEFAULT_VALUES)).model_dump())
        after = leaves(parse(pulumi_config(CHANGED_VALUES)).model_dump())
        same = {key for key in before if before[key] == after[key]}
        assert {key for key in same if not OTHER_BACKEND_KEYS.fullmatch(key)} == set()

    def test_each_kafka_mode_has_its_own_volumes(self, deploy: Deploy) -> None:
        kraft = persistent_volumes(deploy({"kafka": {"mode": "kraft"}}))
        zookeeper = persistent_volumes(deploy({}))
        assert kraft.keys() == {"postgres-data", "redis-data", "kafka-kraft-data"}
        assert {name: kraft[name] for name in kraft.keys() & zookeeper.keys()} == {
            name: zookeeper[name] for name in ("postgres-data", "redis-data")
        }

    def test_another_stack_has_its_own_volumes(self, deploy: Deploy) -> None:
        dev, test = (persistent_volumes(deploy({}, stack=stack)) for stack in ("dev", "test"))
        assert {one["name"] for one in dev.values()} & {one["name"] for one in test.values()} == set()


class TestImages:
    def test_a_container_runs_the_image_by_its_id(self) -> None:
        recording = record_deployment(workload(file_sets=(files(),)))
        assert container(recording)["image"] == "sha256:web:1.0"
        assert container(recording, "web-configuration")["image"] == "sha256:web:1.0"
        assert "docker:index/remoteImage:RemoteImage web:1.0" in recording.get("Container", "web").dependencies

    def test_an_image_is_pulled_once_for_all_its_containers(self) -> None:
        recording = record_deployment(workload("a", image="web:1.0"), workload("b", image="web:1.0"), workload("c"))
        assert [one.name for one in recording.of_type("RemoteImage")] == ["c:1.0", "web:1.0"]

    def test_images_stay_on_the_engine(self) -> None:
        assert record_deployment(workload()).get("RemoteImage", "web:1.0").inputs["keepLocally"] is True

    def test_each_image_is_pulled_from_the_mirror_of_its_registry(self, deploy: Deploy) -> None:
        mirrors = {"docker.io": "harbor.example.com/dockerhub", "ghcr.io/kafbat": "harbor.example.com/kafbat"}
        tools, services = {"enabled": True}, {"deploy": ["rdv"]}
        recording = deploy({"images": {"mirrors": mirrors}, "devTools": tools, "services": services})
        pulled = {one.name: one.inputs["name"] for one in recording.of_type("RemoteImage")}
        assert pulled == {
            "postgres:18.6": "harbor.example.com/dockerhub/library/postgres:18.6",
            "redis:8.10.1": "harbor.example.com/dockerhub/library/redis:8.10.1",
            "zookeeper:3.9.5": "harbor.example.com/dockerhub/library/zookeeper:3.9.5",
            "apache/kafka:3.9.1": "harbor.example.com/dockerhub/apache/kafka:3.9.1",
            "dpage/pgadmin4:9.17": "harbor.example.com/dockerhub/dpage/pgadmin4:9.17",
            "ghcr.io/kafbat/kafka-ui:v1.5.0": "harbor.example.com/kafbat/kafka-ui:v1.5.0",
            "ghcr.io/joeferner/redis-commander:0.9.1": "ghcr.io/joeferner/redis-commander:0.9.1",
            "pti-calendar/rdv-service:1.0.0": "pti-calendar/rdv-service:1.0.0",
        }

    def test_an_image_of_a_service_is_pulled_from_a_mirror_that_names_its_repositories(self, deploy: Deploy) -> None:
        mirrors = {"docker.io": "harbor.example.com/dockerhub", "docker.io/pti-calendar": "harbor.example.com/pti"}
        recording = deploy({"images": {"mirrors": mirrors}, "services": {"deploy": ["rdv"]}})
        image = recording.get("RemoteImage", "pti-calendar/rdv-service:1.0.0")
        assert image.inputs["name"] == "harbor.example.com/pti/rdv-service:1.0.0"


class TestPorts:
    PORTS = (Port(name="http", number=80, publish=8000), Port(name="metrics", number=9100))

    @pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3"])
    def test_a_published_port_is_bound_on_the_bind_address(self, address: str) -> None:
        recording = record_deployment(workload(ports=self.PORTS), bind_address=address)
        assert container(recording)["ports"] == [{"internal": 80, "external": 8000, "ip": address}]

    def test_a_public_port_is_bound_like_any_other(self) -> None:
        public = Port(name="https", number=443, publish=8443, public=True)
        recording = record_deployment(workload(ports=(public,)), bind_address="10.1.2.3")
        assert container(recording)["ports"] == [{"internal": 443, "external": 8443, "ip": "10.1.2.3"}]

    @pytest.mark.parametrize(
        ("bound", "operators"),
        [
            ({}, "127.0.0.1"),
            ({"bind_address": "127.0.0.2"}, "127.0.0.2"),
            ({"bind_address": "10.1.2.3"}, "127.0.0.1"),
            ({"bind_address": "0.0.0.0", "published_host": "engine"}, "127.0.0.1"),  # noqa: S104 - read back
        ],
        ids=["the default", "another loopback address", "an address of the network", "every address"],
    )
    def test_an_admin_port_is_only_published_on_loopback(self, bound: dict[str, Any], operators: str) -> None:
        admin = Port(name="admin", number=8001, publish=18001, admin_only=True)
        recording = record_deployment(workload(ports=(*self.PORTS, admin)), **bound)
        addresses = {port["internal"]: port["ip"] for port in container(recording)["ports"]}
        assert addresses == {80: bound.get("bind_address", "127.0.0.1"), 8001: operators}
        host = bound.get("published_host", bound.get("bind_address", "127.0.0.1"))
        assert recording.result.addressing.published(Endpoint("web", 80), 8000) == (host, 8000)

    def test_an_admin_port_listens_on_every_address_of_its_container(self) -> None:
        assert record_deployment().result.addressing.admin_bind_address == "0.0.0.0"  # noqa: S104 - in the container

    def test_nothing_is_bound_for_a_workload_that_publishes_nothing(self) -> None:
        assert "ports" not in container(record_deployment(workload(ports=self.PORTS[1:])))

    def test_no_container_of_the_platform_is_bound_elsewhere(self, dev: Recording[Any]) -> None:
        bound = {(one.name, port["ip"]) for one in dev.of_type("Container") for port in one.inputs.get("ports", [])}
        assert {name for name, _ in bound} >= {"postgres", "redis", "kafka", "zookeeper", "pgadmin"}
        assert {address for _, address in bound} == {"127.0.0.1"}

    @pytest.mark.parametrize(
        ("bound", "reached"),
        [
            ({"bind_address": "127.0.0.1"}, "127.0.0.1"),
            ({"bind_address": "10.1.2.3"}, "10.1.2.3"),
            ({"bind_address": "0.0.0.0", "published_host": "engine"}, "engine"),  # noqa: S104 - read back
        ],
    )
    def test_published_addresses_follow_the_settings(self, bound: dict[str, Any], reached: str) -> None:
        assert record_deployment(**bound).result.addressing.published(STORE, 16379) == (reached, 16379)

    def test_a_taken_port_is_refused_and_a_free_one_is_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Engine, "published_ports", lambda engine, stack: set())
        monkeypatch.setattr(Engine, "network_ranges", lambda engine: {})
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]

            def check() -> None:
                backend = DockerBackend(BackendSettings(), ImagesSettings(), stack="dev", protect=False)
                backend.preflight([("redis.port", port)])

            with pytest.raises(PortsTaken, match=f"127.0.0.1:{port}: .* 'pti-calendar:redis.port'"):
                record(check)
        record(check)


class TestKubernetesOnlyFields:
    def test_volume_size_peers_and_metrics_have_no_effect(self) -> None:
        def store(**fields: Any) -> list[Registration]:
            size = {"size_gib": fields.pop("size_gib")} if "size_gib" in fields else {}
            volume = Volume(name="data", mount="/data", **size)
            ports = (Port(name="peers", number=7000), Port(name="metrics", number=9100))
            one = stateful("store", volumes=(volume,), ports=ports, **fields)
            return sorted(record_deployment(one).registrations, key=str)

        cluster = store(size_gib=500, peer_ports=(7000,), metrics=(Metrics(port=9100, job="postgres"),))
        assert cluster == store()


def named_mock(type_: str, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Use the resources' plain names, as in a rendered stack."""
    return str(inputs.get("name", type_)), {"imageId": inputs.get("name")}


class TestCompose:
    def test_cpu_shares_hosts_and_liveness_are_in_the_compose_file(self) -> None:
        full = workload(cpu_request=0.5, host_gateway=True, readiness=READY, liveness=TestLiveness.ALIVE)
        recording = record_deployment(full, mock=named_mock)
        service = compose_file(recording.registrations, name="test")["services"]["web"]
        assert service["cpu_shares"] == 512
        assert service["extra_hosts"] == ["host.docker.internal:host-gateway"]
        assert service["healthcheck"]["test"] == container(recording)["healthcheck"]["tests"]

    def test_a_scheduled_task_is_in_the_compose_file(self) -> None:
        recording = record_deployment(scheduled(volumes=(Volume(name="dumps", mount="/dumps"),)), mock=named_mock)
        document = compose_file(recording.registrations, name="pti-calendar-dev")
        service = document["services"]["backup"]
        assert service["entrypoint"] == ["sh", "/etc/pti-calendar/schedule/scheduler.sh", "serve"]
        assert service["restart"] == "unless-stopped"
        assert service["depends_on"] == {"backup-schedule": {"condition": "service_completed_successfully"}}
        assert {"pti-dumps-dev", "pti-backup-runs-dev"} <= document["volumes"].keys()
        assert "with_task() {" in document["configs"]["backup-schedule-task-sh"]["content"]


class TestLifecycle:
    def test_containers_with_fixed_names_are_deleted_before_replacement(self) -> None:
        recording = record_deployment(workload(file_sets=(files(),)))
        fixed = [*recording.of_type("Container"), *recording.of_type("Network")]
        assert {one.name: one.delete_before_replace for one in fixed} == {"web": True, "web-configuration": True}
        assert len(fixed) == 3

    @pytest.mark.parametrize("key", ["tmpfs", "healthcheck"])
    def test_a_change_that_the_provider_ignores_replaces_the_container(self, key: str) -> None:
        assert key in record_deployment(workload()).get("Container", "web").replace_on_changes

    def test_a_stopped_container_is_replaced_and_awaited(self) -> None:
        """A refresh marks a stopped container in `mustRun`."""
        made = record_deployment(workload()).get("Container", "web")
        assert "mustRun" in made.replace_on_changes
        assert made.ignore_changes == ()

    def test_a_successful_task_needs_no_running_container(self) -> None:
        made = record_deployment(task()).get("Container", "migrate")
        assert made.ignore_changes == ("mustRun",)
        assert "mustRun" not in made.replace_on_changes

    def test_a_data_volume_keeps_its_original_labels(self) -> None:
        keeper = stateful(volumes=(Volume(name="data", mount="/data"),))
        assert record_deployment(keeper).get("Volume", "data").ignore_changes == ("labels",)

    def test_leftovers_are_cleared_before_a_container_or_network_is_created(self) -> None:
        recording = record_deployment(workload(file_sets=(files(),)))
        for name in ("web", "web-configuration"):
            assert recording.get("Container", name).hooks == {
                "before_create": (OWNERSHIP_HOOK, "docker-clear-leftover-container"),
            }
        assert recording.get("Network", "web").hooks == {
            "before_create": (OWNERSHIP_HOOK, "docker-clear-leftover-network")
        }

    def test_the_failure_hook_is_only_on_tasks(self) -> None:
        recording = record_deployment(task(), workload())
        assert recording.get("Container", "migrate").hooks["before_create"] == (
            OWNERSHIP_HOOK,
            "docker-clear-leftover-container",
            "docker-watch-task",
        )
        assert recording.get("Container", "migrate").hooks["on_error"] == ("docker-explain-failed-task",)
        assert "docker-watch-task" not in recording.get("Container", "web").hooks["before_create"]

    def test_a_file_volume_of_another_owner_is_refused(self) -> None:
        recording = record_deployment(workload(file_sets=(files(),)))
        assert recording.get("Volume", "web-configuration").hooks == {"before_create": (OWNERSHIP_HOOK,)}

    def test_every_resource_uses_the_one_provider(self, dev: Recording[Any]) -> None:
        docker_resources = [one for one in dev.registrations if one.type.startswith("docker:")]
        assert {one.provider for one in docker_resources} == {"pulumi:providers:docker docker"}
        assert [one.name for one in dev.registrations if one.type == "pulumi:providers:docker"] == ["docker"]

    def test_two_workloads_never_share_a_container_or_a_volume(self) -> None:
        with pytest.raises(WorkloadError, match="workloads 'web' and 'web-configuration' would share the container"):
            record_deployment(workload("web", file_sets=(files("configuration"),)), workload("web-configuration"))
        one = stateful("a", volumes=(Volume(name="data", mount="/data"),))
        other = stateful("b", volumes=(Volume(name="data", mount="/data"),))
        with pytest.raises(WorkloadError, match="workloads 'a' and 'b' would share the volume 'pti-data-dev'"):
            record_deployment(one, other)

    def test_nothing_is_registered_before_the_first_workload(self) -> None:
        assert [str(one) for one in record_deployment().registrations] == ["test:index:Parent parent"]

    def test_the_provider_uses_the_configured_engine(self) -> None:
        (provider,) = record_deployment(workload(), host="ssh://me@engine").of_type("docker")
        assert provider.inputs["host"] == "ssh://me@engine"

    def test_a_preview_needs_no_engine(self) -> None:
        (provider,) = record_deployment(workload()).of_type("docker")
        assert provider.inputs["disableDockerDaemonCheck"] == "true"
        assert provider.inputs["host"] == "unix:///var/run/docker.sock"

    def test_names_and_labels_carry_the_stack(self) -> None:
        recording = record_deployment(workload(), stack="test")
        for one in (recording.get("Container", "web"), recording.get("Network", "web")):
            assert one.inputs["name"] == "pti-web-test"
            assert labels(one) == {"pti-calendar.stack": "test", "pti-calendar.workload": "web"}

    def test_every_resource_except_images_has_the_component_as_its_parent(self) -> None:
        recording = record_deployment(workload(file_sets=(files(),)), TestVolumes.STATEFUL)
        docker = [one for one in recording.registrations if one.type.startswith("docker:")]
        assert {one.parent for one in docker if not one.type.endswith(":RemoteImage")} == {"test:index:Parent parent"}

    def test_the_images_command_is_used_unless_the_workload_sets_one(self) -> None:
        recording = record_deployment(workload(), workload("other", command=("run",), arguments=("--fast",)))
        assert container(recording).keys() & {"entrypoints", "command", "envs", "mounts", "tmpfs"} == set()
        assert container(recording, "other")["entrypoints"] == ["run"]
        assert container(recording, "other")["command"] == ["--fast"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("workloads", "reason"),
        [
            (
                [workload(replicas=3)],
                "workload 'web': replicas=3 is not supported on Docker: an engine runs one replica of each workload",
            ),
            (
                [workload(autoscaling=Autoscaling(minimum=1, maximum=1, cpu_percent=70))],
                "workload 'web': autoscaling is not supported on Docker: an engine runs one replica of each workload",
            ),
            (
                [workload(load_balancer=LoadBalancer(source_ranges=("192.0.2.0/24",)))],
                "workload 'web': a load balancer with options is not supported on Docker: "
                "an engine binds public ports on its host",
            ),
            (
                [workload(reads_deployed_objects=True)],
                "workload 'web': reading the deployed objects is not supported on Docker: "
                "an engine has no Kubernetes objects",
            ),
            (
                [workload(reads_node_metrics=True)],
                "workload 'web': reading the nodes' metrics is not supported on Docker: an engine has no kubelets",
            ),
            (
                [workload(file_sets=(files("keys", files={}, external_secret="theirs"),))],
                "workload 'web': the external secret 'theirs' as file set 'keys' is not supported on Docker: "
                "Secrets need Kubernetes",
            ),
            (
                [callee(), workload(connects_to=(Endpoint("store", 6379, alias="cache"),))],
                "workload 'web': connecting to 'store' as 'cache' is not supported on Docker: "
                "a workload has only its own name",
            ),
            ([workload(), workload()], "workload 'web' is deployed twice"),
            (
                [workload(depends_on=("store",))],
                "workload 'web' depends on 'store', which is not deployed before it; deployed are none",
            ),
            (
                [callee("api", 80), workload("db"), workload(connects_to=(Endpoint("api", 80), STORE))],
                "workload 'web' depends on 'store', which is not deployed before it; deployed are api, db",
            ),
            (
                [workload(connects_to=(STORE,)), callee()],
                "workload 'web' depends on 'store', which is not deployed before it; deployed are none",
            ),
            (
                [callee("store", 6380, 6381), workload(connects_to=(STORE,))],
                "workload 'web' connects to port 6379 of 'store', which listens on 6380, 6381",
            ),
        ],
        ids=[
            "replicas",
            "autoscaling",
            "a load balancer",
            "objects of a namespace",
            "kubelets",
            "an external secret",
            "another name",
            "the same twice",
            "an unknown dependency",
            "an unknown callee",
            "a callee deployed later",
            "a port that the callee lacks",
        ],
    )
    def test_features_that_docker_lacks_are_refused(self, workloads: list[Workload], reason: str) -> None:
        with pytest.raises(WorkloadError) as refused:
            record_deployment(*workloads)
        assert str(refused.value) == reason

    def test_docker_has_no_edge_issuer_or_operator(self) -> None:
        backend = record_deployment().result
        assert (backend.edge, backend.certificate_issuer, backend.postgres_operator) == (None, None, None)


def persistent_volumes(recording: Recording[Any]) -> dict[str, Mapping[str, Any]]:
    """Map the names of the data volumes to their inputs."""
    return {one.name: one.inputs for one in recording.of_type("Volume") if one.retain_on_delete}


# Excluded: other backends and modes with the settings that apply only to them, and sections without a store. Kafka's
# other mode has its own test.
OTHER_BACKEND_KEYS = re.compile(
    r"\.(backend\.kind|(postgres|redis|kafka)\.(mode|external\..*)|postgres\.cloudnativepg\..*|kafka\.brokers"
    r"|backups\.((point_in_time|drill)\.)?enabled|backups\.offsite\..*|(kubernetes|gateway|edge|services|frontends|monitoring|tenants)\..*)"
)
DEFAULT_VALUES: dict[str, Any] = {
    "backups": {"enabled": True, "pointInTime": {"enabled": True}, "drill": {"enabled": True}},
    "devTools": {"enabled": False},
}
CHANGED_VALUES: dict[str, Any] = {
    "backend": {
        "host": "ssh://me@engine",
        "bindAddress": "127.0.0.2",
        "publishedHost": "engine",
        "networkPool": "10.8.0.0/16",
    },
    "credentials": "well-known",
    "protect": True,
    "images": {"mirrors": {"docker.io": "registry.example.com/mirror"}},
    "postgres": {
        "image": "postgres:17.2",
        "previousMajor": 18,
        "port": 15432,
        "memoryMib": 2048,
        "maxConnections": 300,
        "cpuRequest": 0.5,
        "storageGib": 50,
    },
    "redis": {"image": "redis:7.4", "port": 16379, "maxMemoryMib": 64, "cpuRequest": 0.5, "storageGib": 50},
    "kafka": {
        "image": "apache/kafka:3.9.0",
        "port": 19092,
        "heapMib": 512,
        "jvmOptions": "-XX:+UseG1GC",
        "cpuRequest": 0.5,
        "storageGib": 50,
        "partitions": 3,
        "expectedTopics": 20,
        "zookeeper": {"image": "zookeeper:3.9.3", "port": 12181, "heapMib": 128},
    },
    "backups": {
        "enabled": True,
        "schedule": "0 4 * * *",
        "keepCount": 3,
        "keepDays": 9,
        "storageGib": 50,
        "maxAgeHours": 48,
        "pointInTime": {
            "enabled": True,
            "schedule": "0 */6 * * *",
            "keepCount": 4,
            "keepDays": 14,
            "storageGib": 60,
            "maxWalGib": 3,
            "maxAgeHours": 7,
        },
        "drill": {"enabled": True, "schedule": "0 6 * * 1", "maxAgeHours": 200, "storageGib": 60},
    },
    "devTools": {
        "enabled": True,
        "pgAdmin": {"image": "dpage/pgadmin4:9.1", "port": 15050, "email": "me@example.com"},
        "kafkaUi": {"image": "kafbat/kafka-ui:1.0", "port": 18080, "heapMib": 256},
        "redisCommander": {"image": "redis-commander:0.9", "port": 18081},
    },
}

"""What is wrong with pods, as kubectl lists them; kubectl is a stand-in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backends.kubernetes.observed import SELECTORS
from operations import cluster_diagnosis
from operations.doctor.finding import CommandFailed, Finding, Instance
from operations.project import OperationError
from settings.backend import KubernetesSettings
from tests.unit import rollout_objects as objects

STAND_IN = """#!/bin/sh
echo "$*" >> "{folder}/commands"
case " $* " in
    *" get events "*) cat "{folder}/events" ;;
    *" exec "*" fail "*) echo "command terminated with exit code 1" >&2; exit 1 ;;
    *" exec "*) echo "done: $*" ;;
    *" /version "*) cat "{folder}/version" >&2 ;;
    *) cat "{folder}/objects" ;;
esac
"""
HEADERS = """I1129 15:25:22.253488   16859 round_trippers.go:581] Response Status: 200 OK in 2 milliseconds
I1129 15:25:22.253645   16859 round_trippers.go:584] Response Headers:
I1129 15:25:22.253662   16859 round_trippers.go:587]     Date: Sun, 29 Nov 2026 15:25:22 GMT
I1129 15:25:22.253667   16859 round_trippers.go:587]     Content-Type: application/json
"""
"""What kubectl 1.32 writes with -v=8."""

CLUSTER = KubernetesSettings(context="here", kubeconfig="~/.kube/config")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the stand-in records its commands and finds its responses."""
    (tmp_path / "kubectl").write_text(STAND_IN.format(folder=tmp_path))
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "events").write_text('{"items": []}')
    (tmp_path / "version").write_text(HEADERS)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def diagnosis(folder: Path, *found: Any, recorded: list[dict[str, Any]] | None = None) -> list[Finding]:
    """Return the findings about objects."""
    (folder / "objects").write_text(json.dumps({"items": found}))
    return cluster_diagnosis.findings(CLUSTER, "prod", recorded or [], SELECTORS)


def web(pod: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return a Deployment with that pod."""
    return objects.deployment(), objects.replica_set(), pod


def test_ready_workloads_are_not_reported(folder: Path) -> None:
    assert diagnosis(folder, objects.deployment(ready=1), objects.stateful_set(ready=1, current="new")) == []


@pytest.mark.parametrize(
    ("pod", "problem", "fix", "output"),
    [
        (
            objects.pod("web-a", "web-2", objects.waiting("ImagePullBackOff", "pull access denied")),
            "ImagePullBackOff: pull access denied",
            "#an-image-cant-be-pulled",
            "",
        ),
        (
            objects.pod(
                "web-a",
                "web-2",
                objects.waiting("CrashLoopBackOff"),
                restarts=5,
                last=objects.ended(3, message="no such table\nbye"),
            ),
            "CrashLoopBackOff: exit code 3",
            "make logs STACK=prod SERVICE=web",
            "no such table\nbye",
        ),
        (
            objects.pod(
                "web-a", "web-2", objects.waiting("CrashLoopBackOff"), restarts=5, last=objects.ended(137, "OOMKilled")
            ),
            "used all of its 64Mi of memory",
            "memoryMib",
            "",
        ),
        (
            objects.pod(
                "web-a",
                "web-2",
                conditions={
                    "PodScheduled": {"status": "False", "reason": "Unschedulable", "message": "Insufficient memory"}
                },
            ),
            "Unschedulable: Insufficient memory",
            "kubectl describe pod -n pti-calendar",
            "",
        ),
        (
            objects.pod("web-a", "web-2", objects.waiting("CreateContainerConfigError", 'secret "key" not found')),
            'secret "key" not found',
            "make up STACK=prod",
            "",
        ),
    ],
)
def test_a_pod_that_is_not_ready_is_reported_with_the_cause_and_the_fix(
    folder: Path, pod: dict[str, Any], problem: str, fix: str, output: str
) -> None:
    (found,) = diagnosis(folder, *web(pod))
    assert (found.severity, found.subject, found.output) == ("error", "web", output)
    assert found.problem.startswith("0 of 1 replicas ready; pod web-a")
    assert problem in found.problem
    assert fix in found.fix


def test_a_pod_whose_probe_fails_is_reported_with_the_events_message(folder: Path) -> None:
    event = {"involvedObject": {"name": "web-a"}, "message": "Readiness probe failed: HTTP 503"}
    (folder / "events").write_text(json.dumps({"items": [event]}))
    (found,) = diagnosis(folder, *web(objects.pod("web-a", "web-2", {"running": {}})))
    assert (found.severity, found.output) == ("error", "Readiness probe failed: HTTP 503")


def test_a_pod_that_only_has_to_start_is_a_warning(folder: Path) -> None:
    (found,) = diagnosis(folder, *web(objects.pod("web-a", "web-2", {"running": {}})))
    assert (found.severity, found.subject) == ("warning", "web")


def test_a_controller_without_a_pod_is_an_error(folder: Path) -> None:
    (found,) = diagnosis(folder, objects.deployment(), objects.replica_set(refused="exceeded quota"))
    assert found.severity == "error"
    assert "exceeded quota" in found.problem


def test_a_job_that_runs_is_not_reported(folder: Path) -> None:
    assert diagnosis(folder, objects.job(), objects.pod("migrate-1-x", "migrate-1", {"running": {}})) == []


def test_a_failed_job_is_reported_with_the_last_lines_of_its_attempt(folder: Path) -> None:
    failed = objects.pod(
        "migrate-1-x", "migrate-1", {"terminated": objects.ended(1, message="no route")}, phase="Failed"
    )
    (found,) = diagnosis(folder, objects.job("Failed", "limit reached"), failed)
    assert (found.severity, found.subject, found.output) == ("error", "migrate-1", "no route")
    assert "BackoffLimitExceeded: limit reached" in found.problem


def test_a_claim_without_a_storage_class_is_named(folder: Path) -> None:
    unbound = {
        "status": "False",
        "reason": "Unschedulable",
        "message": "pod has unbound immediate PersistentVolumeClaims",
    }
    pod = objects.pod("store-0", "store", claim="data-store-0", conditions={"PodScheduled": unbound})
    (found,) = diagnosis(folder, objects.stateful_set(), pod, objects.claim(None))
    assert (found.severity, found.subject) == ("error", "store")
    assert "claim data-store-0" in found.problem
    assert "kubectl describe pvc" in found.fix


def test_a_deleted_controller_is_reported_by_its_name_in_the_state(folder: Path) -> None:
    recorded = [
        {"type": f"kubernetes:apps/v1:{kind}", "outputs": {"metadata": {"name": name}}}
        for kind, name in (("Deployment", "web"), ("StatefulSet", "redis"))
    ]
    (found,) = diagnosis(folder, objects.deployment(ready=1), recorded=recorded)
    assert (found.severity, found.subject, found.problem) == ("error", "redis", "Its StatefulSet was deleted.")


def running(name: str, workload: str, *, owner: str = "StatefulSet", **labels: str) -> dict[str, Any]:
    """Return a running pod with a volume and a sidecar, as kubectl lists it."""
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": "scratch", "mountPath": "/scratch"}]
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/name": workload, **labels},
            "ownerReferences": [{"kind": owner}],
        },
        "spec": {
            "containers": [{"name": workload, "volumeMounts": mounts}, {"name": "sidecar"}],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": f"data-{name}"}},
                {"name": "scratch", "emptyDir": {}},
            ],
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": one, "state": {"running": {}}} for one in (workload, "sidecar")],
        },
    }


def test_commands_run_in_the_running_pods_that_are_not_jobs(folder: Path) -> None:
    crashed = running("redis-1", "redis")
    crashed["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    found = [running("redis-0", "redis"), crashed, running("backup-x", "backup", owner="Job")]
    (folder / "objects").write_text(json.dumps({"items": found}))
    (only,) = cluster_diagnosis.instances(CLUSTER, SELECTORS)
    assert only == Instance("redis", "redis-0", "redis", (("data-redis-0", "/data"),))

    executed = cluster_diagnosis.execute(CLUSTER, only, ["df", "/data"])
    assert executed.endswith(" exec redis-0 --container redis -- df /data\n")
    with pytest.raises(CommandFailed, match="exit code 1"):
        cluster_diagnosis.execute(CLUSTER, only, ["fail", "now"])


@pytest.mark.parametrize(("role", "is_primary"), [("primary", True), ("replica", False)])
def test_the_primary_of_an_operators_cluster_is_known(folder: Path, role: str, is_primary: bool) -> None:
    labels = {"cnpg.io/cluster": "postgres", "cnpg.io/instanceRole": role}
    pod = running("postgres-1", "postgres", owner="Cluster", **labels)
    pod["metadata"]["labels"]["app.kubernetes.io/name"] = "postgresql"
    (folder / "objects").write_text(json.dumps({"items": [pod]}))
    (found,) = cluster_diagnosis.instances(CLUSTER, SELECTORS)
    assert (found.workload, found.is_primary) == ("postgres", is_primary)


def test_the_clock_is_read_from_the_headers_of_a_response(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 11, 29, 15, 25, 12, 500_000, tzinfo=UTC).timestamp()
    monkeypatch.setattr(cluster_diagnosis, "time", lambda: now)
    offset = cluster_diagnosis.clock_offset(CLUSTER)
    assert (offset.seconds, offset.uncertainty_s) == (10.0, 0.5)


def test_a_response_without_a_date_is_refused(folder: Path) -> None:
    (folder / "version").write_text("The connection to the server was refused\n")
    with pytest.raises(OperationError, match="no date"):
        cluster_diagnosis.clock_offset(CLUSTER)

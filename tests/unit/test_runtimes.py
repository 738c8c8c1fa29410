"""Status, logs and wipe of a stack on Kubernetes; kubectl is a stand-in that records commands and returns prepared
responses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backends.kubernetes.claims import MISSING_CLAIM_CLASS
from backends.kubernetes.labels import INSTANCE_LABEL, PART_OF_LABEL, PLATFORM
from operations import cluster, containers, stack
from operations.configuration import read_configuration
from operations.destroy import destroy
from operations.project import OperationError
from operations.runtimes import runtime_of
from operations.wipe import wipe
from tests.unit import rollout_objects as objects

STAND_IN = """#!/bin/sh
echo "$*" >> "{notes}/commands"
case " $* " in
    *" get persistentvolumeclaims --output json "*) cat "{notes}/claims.json" ;;
    *" --output json "*) cat "{notes}/pods.json" ;;
    *" get namespace "*) cat "{notes}/namespace" ;;
    *" --output wide "*) cat "{notes}/table" ;;
esac
"""


NAME, OPERATORS = "app.kubernetes.io/name", "cnpg.io/cluster"


def pod(**labels: str) -> dict[str, Any]:
    """Return a pod as kubectl lists it."""
    return {"metadata": {"labels": labels}}


def claim(name: str, storage_class: str) -> dict[str, Any]:
    """Return a PVC as kubectl lists it."""
    return {"metadata": {"name": name}, "spec": {"storageClassName": storage_class}}


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the stand-in records its commands and finds its responses."""
    (tmp_path / "kubectl").write_text(STAND_IN.format(notes=tmp_path))
    (tmp_path / "kubectl").chmod(0o755)
    # The operator sets its own component name on all its pods, but users don't ask for that name.
    pods = [pod(**{NAME: "rdv"}), pod(**{NAME: "postgresql", OPERATORS: "postgres"}), pod(foreign="yes")]
    (tmp_path / "pods.json").write_text(json.dumps({"items": pods}))
    (tmp_path / "claims.json").write_text(json.dumps({"items": [claim("redis-data-redis-0", "fast")]}))
    (tmp_path / "namespace").write_text(json.dumps({INSTANCE_LABEL: "pti-calendar-prod"}))
    (tmp_path / "table").write_text("NAME READY RESTARTS\npod/rdv-1 1/1 0\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", "/home/somebody")
    return tmp_path


def commands(notes: Path) -> list[str]:
    """Return the recorded kubectl commands."""
    file = notes / "commands"
    return file.read_text().splitlines() if file.exists() else []


def test_the_configuration_selects_the_runtime() -> None:
    assert runtime_of("dev") is containers
    assert runtime_of("prod") is cluster


def test_status_shows_kubectls_output(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runtime_of("prod").show_status("prod")
    assert "pod/rdv-1 1/1 0" in capsys.readouterr().out


def test_a_workload_with_too_few_ready_pods_is_reported_with_the_reason(notes: Path) -> None:
    listed = [objects.stateful_set(ready=1, current="new"), objects.deployment(), objects.replica_set(refused="quota")]
    (notes / "pods.json").write_text(json.dumps({"items": listed}))
    assert cluster.unready_workloads("prod") == [
        "web: 0 of 1 replicas ready\n    ReplicaSet web-2: FailedCreate: quota"
    ]
    assert "cnpg" not in commands(notes)[0]


def test_status_names_a_claim_that_is_missing(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = [claim("redis-data-redis-0", "fast"), claim("postgres-data-postgres-0", MISSING_CLAIM_CLASS)]
    (notes / "claims.json").write_text(json.dumps({"items": listed}))

    cluster.show_status("prod")

    shown = capsys.readouterr().out
    assert "The claim 'postgres-data-postgres-0' with this stack's data is missing." in shown
    assert "docs/stores.md#a-claim-or-volume-is-missing" in shown
    assert "redis-data-redis-0' with this stack's data" not in shown


def test_status_names_a_claim_that_is_being_deleted(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deleted = claim("redis-data-redis-0", "fast")
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    (notes / "claims.json").write_text(json.dumps({"items": [deleted, claim("postgres-data-postgres-0", "fast")]}))

    cluster.show_status("prod")

    shown = capsys.readouterr().out
    assert "The claim 'redis-data-redis-0' with this stack's data is being deleted." in shown
    assert "postgres-data-postgres-0' with this stack's data" not in shown


def test_every_command_names_the_cluster_and_the_namespace_of_the_configuration(notes: Path) -> None:
    settings = read_configuration("prod")[0].kubernetes
    assert settings.kubeconfig == "~/.kube/config"
    cluster.show_status("prod")
    cluster.follow_logs("prod", "rdv", follow=False)
    cluster.delete_data("prod", [])
    named = f"--kubeconfig /home/somebody/.kube/config --context {settings.context} --namespace {settings.namespace} "
    assert len(commands(notes)) == 5
    assert [line for line in commands(notes) if not line.startswith(named)] == []


def test_status_of_an_empty_namespace_shows_the_command_that_deploys_the_stack(notes: Path) -> None:
    (notes / "table").write_text("")
    with pytest.raises(OperationError, match="make up STACK=prod"):
        cluster.show_status("prod")


@pytest.mark.parametrize(("workload", "selector"), [("rdv", f"{NAME}=rdv"), ("postgres", f"{OPERATORS}=postgres")])
def test_logs_come_from_all_pods_of_a_workload(notes: Path, workload: str, selector: str) -> None:
    assert cluster.follow_logs("prod", workload, follow=True) == 0
    last = commands(notes)[-1]
    assert f"--selector {selector} " in last
    assert last.endswith("--follow")


def test_logs_of_an_unknown_workload_name_the_known_ones(notes: Path) -> None:
    with pytest.raises(OperationError, match=r"runs no 'unknown'; it runs postgres, rdv\."):
        cluster.follow_logs("prod", "unknown", follow=False)


def test_without_kubectl_the_error_links_to_its_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OperationError, match=r"'kubectl' command is missing.*kubernetes\.io"):
        cluster.show_status("prod")


def test_kubectls_error_is_shown_with_its_command(notes: Path) -> None:
    (notes / "kubectl").write_text("#!/bin/sh\necho 'connection refused' >&2\nexit 1\n")
    with pytest.raises(OperationError, match=r"--context pti-calendar .*\n.*connection refused"):
        cluster.show_status("prod")


def test_wipe_changes_nothing_unless_the_name_is_typed(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wipes(monkeypatch, "dev")
    with pytest.raises(OperationError, match="Not confirmed"):
        wipe("prod")
    assert deletions(notes) == []


@pytest.mark.parametrize(
    ("namespace_labels", "owner"),
    [({INSTANCE_LABEL: "pti-calendar-prod", PART_OF_LABEL: PLATFORM}, "pti-calendar-prod"), ({}, "an unknown owner")],
)
def test_wipe_refuses_the_namespace_of_another_owner(
    notes: Path, monkeypatch: pytest.MonkeyPatch, namespace_labels: dict[str, str], owner: str
) -> None:
    """A copied stack file names the namespace of the original."""
    (notes / "namespace").write_text(json.dumps(namespace_labels))
    configured = read_configuration("prod")
    monkeypatch.setattr(cluster, "read_configuration", lambda _: configured)
    obstacles = cluster.destroy_obstacles("staging", [])
    assert len(obstacles) == 1
    assert owner in obstacles[0]
    assert "kubernetes.namespace" in obstacles[0]


@pytest.mark.parametrize("namespace_labels", ["", json.dumps({PART_OF_LABEL: PLATFORM})])
def test_wipe_accepts_a_missing_namespace_and_one_of_an_earlier_release(notes: Path, namespace_labels: str) -> None:
    (notes / "namespace").write_text(namespace_labels)
    assert cluster.destroy_obstacles("prod", []) == []


def test_wipe_changes_nothing_if_the_state_cannot_be_read(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(name: str) -> dict[str, Any]:
        raise OperationError("the state can't be read")

    monkeypatch.setattr(stack, "recorded_state", unreadable)
    with pytest.raises(OperationError, match="can't be read"):
        wipe("prod")
    assert not (notes / "commands").exists()


def wipes(monkeypatch: pytest.MonkeyPatch, *answers: str, resources: tuple[dict[str, Any], ...] = ()) -> None:
    """Prepare a wipe of prod: what its state records, and what is typed."""
    given = [*answers]
    monkeypatch.setattr("builtins.input", lambda _: given.pop(0))
    monkeypatch.setattr(stack, "recorded_state", lambda _: {"resources": [*resources]})
    monkeypatch.setattr(stack, "destroy", lambda _: 0)
    unprotected = read_configuration("prod")[0].model_copy(update={"protect": False})
    monkeypatch.setattr("operations.wipe.read_configuration", lambda _: (unprotected, {}))


def test_wipe_keeps_the_data_if_the_stack_cannot_be_destroyed(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wipes(monkeypatch, "prod", resources=({"type": "x"},))
    monkeypatch.setattr(stack, "destroy", lambda _: 255)
    with pytest.raises(OperationError, match="could not be destroyed"):
        wipe("prod")
    assert deletions(notes) == []


@pytest.mark.parametrize(
    ("resources", "command"),
    [
        ([{"type": "x", "protect": True}], "pulumi state unprotect --all --stack prod"),
        ([], "pulumi config set pti-calendar:protect false --stack prod"),
    ],
)
def test_wipe_refuses_a_protected_stack_also_if_its_state_is_lost(
    notes: Path, monkeypatch: pytest.MonkeyPatch, resources: list[dict[str, Any]], command: str
) -> None:
    monkeypatch.setattr(stack, "recorded_state", lambda _: {"resources": resources})
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked"))
    with pytest.raises(OperationError, match="is protected") as refused:
        wipe("prod")
    assert command in str(refused.value)
    assert deletions(notes) == []


def test_wipe_deletes_the_namespace_after_the_stack(
    notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wipes(monkeypatch, "prod")
    assert wipe("prod") == 0
    output = capsys.readouterr().out
    assert "in namespace pti-calendar (kubeconfig ~/.kube/config, context pti-calendar)" in output
    assert "  namespace/pti-calendar, with everything in it" in output
    assert "  persistentvolumeclaim/redis-data-redis-0" in output
    assert commands(notes)[-1].endswith("delete namespace pti-calendar --ignore-not-found")


def test_wipe_keeps_the_backups_and_their_namespace_unless_asked(
    notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backups = claim("backup-data-backup", "fast")
    backups["metadata"]["labels"] = {NAME: "backup"}
    (notes / "claims.json").write_text(json.dumps({"items": [claim("redis-data-redis-0", "fast"), backups]}))
    wipes(monkeypatch, "prod", "prod")
    assert wipe("prod") == 0
    output = capsys.readouterr().out
    assert "The backups stay, with every tenant's rows: persistentvolumeclaim/backup-data-backup" in output
    assert "Deleted: persistentvolumeclaim/redis-data-redis-0\n" in output
    deleted = deletions(notes)
    assert not any(" delete namespace " in line or "backup-data" in line for line in deleted)
    assert deleted[-1].endswith("delete persistentvolumeclaim/redis-data-redis-0 --ignore-not-found")

    assert wipe("prod", delete_backups=True) == 0
    assert deletions(notes)[-1].endswith("delete namespace pti-calendar --ignore-not-found")


def test_a_destroy_lists_what_it_keeps(
    notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wipes(monkeypatch, "prod", resources=({"type": "x"},))
    assert destroy("prod") == 0
    output = capsys.readouterr().out
    assert "  persistentvolumeclaim/redis-data-redis-0\n" in output
    assert "To continue with it: make up STACK=prod" in output
    assert deletions(notes) == []


def deletions(notes: Path) -> list[str]:
    """Return the commands that delete something."""
    return [line for line in commands(notes) if " delete " in line]

"""`python -m operations run`: a scheduled task on request. The docker command and kubectl are stand-ins that record
commands and return prepared responses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from backends.docker.engine import SCHEDULER_PATH
from backends.kubernetes import labels
from operations import __main__ as command_line
from operations import cluster, containers, job_run
from operations.job_run import job_manifest
from operations.project import OperationError
from tests.unit.kubernetes_recording import find_manifest, record_workloads, scheduled
from tests.unit.paths import ROOT

DOCKER = """#!/bin/sh
echo "$*" >>"{notes}/commands"
case " $* " in
    *" ps "*) cat "{notes}/containers" ;;
    *" {script} status "*) echo "run of 2026-06-10T02:30:00Z succeeded" ;;
    *" {script} cancel "*) : >"{notes}/cancelled" ;;
    *" {script} run "* | *" own command"*)
        echo "the task's output"
        until [ ! -e "{notes}/hangs" ] || [ -e "{notes}/cancelled" ]; do sleep 0.1; done
        exit 7 ;;
esac
"""
UP, STOPPED = "Up 2 hours (healthy)", "Exited (0) 2 hours ago"


def row(workload: str, state: str = UP, schedule: str = "") -> str:
    """Return a container as `docker ps` formats it."""
    return json.dumps([f"pti-{workload}-dev", workload, state, "", schedule]) + "\n"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the docker stand-in records its commands and finds its responses."""
    (tmp_path / "docker").write_text(DOCKER.format(notes=tmp_path, script=SCHEDULER_PATH))
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "containers").write_text(row("postgres") + row("backup", schedule="30 2 * * *"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")
    return tmp_path


def commands(folder: Path) -> list[str]:
    """Return the recorded commands."""
    file = folder / "commands"
    return file.read_text().splitlines() if file.exists() else []


class TestCommandLine:
    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
        """The calls of `run_task`, whose result is 3."""
        made: list[tuple[Any, ...]] = []

        def run_task(*arguments: Any) -> int:
            made.append(arguments)
            return 3

        monkeypatch.setattr(containers, "run_task", run_task)
        return made

    @pytest.mark.parametrize(
        ("words", "command"),
        [
            (["backup"], None),
            (
                ["--stack", "dev", "backup", "--", "restore", "--latest", "-x", "a b"],
                ["restore", "--latest", "-x", "a b"],
            ),
            (["backup", "--stack", "dev", "--", "sh", "--", "--stack"], ["sh", "--", "--stack"]),
        ],
    )
    def test_the_words_after_two_dashes_are_the_command(
        self,
        calls: list[tuple[Any, ...]],
        monkeypatch: pytest.MonkeyPatch,
        words: list[str],
        command: list[str] | None,
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["operations", "run", *words])
        assert command_line.main() == 3
        assert calls == [("dev", "backup", command)]

    def test_other_operations_take_no_command(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["operations", "status", "--", "restore"])
        with pytest.raises(SystemExit):
            command_line.main()
        assert "'status' takes no command after '--'" in capsys.readouterr().err


class TestDocker:
    def test_the_task_runs_in_its_container_and_its_exit_code_is_returned(
        self, engine: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert containers.run_task("dev", "backup") == 7
        assert commands(engine)[-1] == f"exec pti-backup-dev sh {SCHEDULER_PATH} run"
        assert "the task's output" in capfd.readouterr().out

    def test_another_command_runs_in_its_place(self, engine: Path) -> None:
        containers.run_task("dev", "backup", ["restore", "--latest"])
        assert commands(engine)[-1].endswith(f"{SCHEDULER_PATH} run restore --latest")

    @pytest.mark.parametrize("workload", ["unknown", "postgres"])
    def test_an_unknown_task_is_refused_with_the_known_ones(self, engine: Path, workload: str) -> None:
        with pytest.raises(OperationError, match=rf"no scheduled task '{workload}'; its scheduled tasks: backup$"):
            containers.run_task("dev", workload)

    def test_a_stack_that_is_not_up_is_refused(self, engine: Path) -> None:
        (engine / "containers").write_text("")
        with pytest.raises(OperationError, match="make up STACK=dev"):
            containers.run_task("dev", "backup")

    def test_a_stopped_container_is_refused(self, engine: Path) -> None:
        (engine / "containers").write_text(row("backup", STOPPED, "30 2 * * *"))
        with pytest.raises(OperationError, match=r"'pti-backup-dev' isn't running \(Exited \(0\) 2 hours ago\)"):
            containers.run_task("dev", "backup")

    def test_ctrl_c_ends_the_run_in_the_container(self, engine: Path) -> None:
        (engine / "hangs").touch()
        running = interruptible("run", "--stack", "dev", "backup")
        wait_until(lambda: any(" run" in one for one in commands(engine)))
        # The terminal sends the signal to all of its foreground processes.
        os.killpg(running.pid, signal.SIGINT)
        output, _ = running.communicate(timeout=30)
        assert (running.returncode, (engine / "cancelled").exists()) == (130, True), output
        assert commands(engine)[-1] == f"exec pti-backup-dev sh {SCHEDULER_PATH} cancel"

    def test_the_status_shows_schedules_and_last_results(
        self, engine: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        containers.show_status("dev")
        shown = capsys.readouterr().out
        assert "backup          30 2 * * *      run of 2026-06-10T02:30:00Z succeeded\n" in shown
        assert shown.count("postgres") == 1

    def test_the_status_of_a_task_that_does_not_respond_is_unknown(
        self, engine: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = (engine / "docker").read_text()
        (engine / "docker").write_text(text.replace('echo "run of', 'echo "is restarting"; exit 1; echo "run of'))
        containers.show_status("dev")
        assert "unknown: 'docker exec' failed:\n  is restarting" in capsys.readouterr().out


class TestDockerContainer:
    def test_a_command_runs_in_the_container_and_its_exit_code_is_returned(self, engine: Path) -> None:
        assert containers.run_in_container("dev", "postgres", ["own", "command"], ["cancel"]) == 7
        assert commands(engine)[-1] == "exec pti-postgres-dev own command"

    def test_an_unknown_workload_is_refused_with_the_known_ones(self, engine: Path) -> None:
        with pytest.raises(OperationError, match="runs no 'unknown'; it runs backup, postgres"):
            containers.run_in_container("dev", "unknown", ["own", "command"], ["cancel"])

    def test_a_stopped_container_is_refused(self, engine: Path) -> None:
        (engine / "containers").write_text(row("postgres", STOPPED))
        with pytest.raises(OperationError, match=r"'pti-postgres-dev' isn't running \(Exited \(0\) 2 hours ago\)"):
            containers.run_in_container("dev", "postgres", ["own", "command"], ["cancel"])


KUBECTL = """#!/bin/sh
for one in "$@"; do case $one in exec|get|create|patch|delete|logs) verb=$one; break ;; esac; done
echo "$*" >>"{notes}/commands"
case "$verb $*" in
    "get "*" statefulsets "*) echo '{{"items": [{{"metadata": {{"name": "archive"}}}}]}}' ;;
    "exec "*) exit 7 ;;
    "get "*" cronjobs "*) cat "{notes}/cronjobs" ;;
    "get "*" cronjob "*) cat "{notes}/cronjob" ;;
    "get "*" job "*) cat "{notes}/job-$(echo "$*" | sed 's/.* job \\([^ ]*\\) .*/\\1/')" ;;
    "get "*" events "*) cat "{notes}/events" ;;
    "get "*" jobs,pods "*)
        sed "s/NAME/$(cat {notes}/name)/" "{notes}/objects" ;;
    "create "*)
        cat >"{notes}/created"
        sed -n 's/.*"name": "\\(backup-[0-9a-f]*\\)".*/\\1/p' "{notes}/created" >"{notes}/name"
        echo '{{"metadata": {{"name": "'"$(cat {notes}/name)"'", "namespace": "pti", "uid": "uid-of-job"}}}}' ;;
    "patch "*" cronjob "*)
        if [ -e "{notes}/conflict" ]; then
            mv "{notes}/conflict" "{notes}/cronjob"
            echo "Error from server (Conflict): the object has been modified" >&2
            exit 1
        fi ;;
    "logs "*)
        echo "the task's output"
        until [ ! -e "{notes}/hangs" ] || [ -e "{notes}/deleted" ]; do sleep 0.1; done
        [ ! -e "{notes}/then" ] || mv "{notes}/then" "{notes}/objects" ;;
    "delete "*) : >"{notes}/deleted" ;;
esac
"""


def cron_job(*active: str) -> dict[str, Any]:
    """Return the CronJob of a scheduled task, as the API server does."""
    recording = record_workloads(scheduled(arguments=("--all",)), namespace="pti")
    manifest = find_manifest(recording, "CronJob", "backup")
    found: dict[str, Any] = json.loads(json.dumps(manifest))
    found["metadata"] |= {"uid": "uid-of-cron-job", "resourceVersion": "41"}
    found["status"] = {"active": [{"kind": "Job", "name": name} for name in active]}
    return found


def pod(state: Mapping[str, Any], phase: str = "Running") -> dict[str, Any]:
    """Return the pod of the requested Job."""
    return {
        "kind": "Pod",
        "metadata": {"name": "backup-pod", "uid": "uid-of-pod", "ownerReferences": [{"uid": "uid-of-job"}]},
        "spec": {"containers": [{"name": "backup"}]},
        "status": {"phase": phase, "containerStatuses": [{"name": "backup", "state": state}]},
    }


def job(condition: str | None = None) -> dict[str, Any]:
    """Return the requested Job."""
    conditions = [{"type": condition, "status": "True", "reason": "Why", "message": "so"}] if condition else []
    return {"kind": "Job", "metadata": {"name": "NAME", "uid": "uid-of-job"}, "status": {"conditions": conditions}}


def ended(code: int, reason: str = "Completed") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": "its last line"}}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the kubectl stand-in records its commands and finds its responses."""
    (tmp_path / "kubectl").write_text(KUBECTL.format(notes=tmp_path))
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(job_run, "POLL_S", 0.05)
    write(tmp_path, "cronjobs", {"items": [cron_job()]})
    write(tmp_path, "cronjob", cron_job())
    write(tmp_path, "objects", {"items": [job(), pod({"running": {}})]})
    write(tmp_path, "then", {"items": [job("Complete"), pod(ended(0), "Succeeded")]})
    write(tmp_path, "events", {"items": []})
    return tmp_path


def write(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    (folder / name).write_text(json.dumps(content))


class TestKubernetesPod:
    def test_a_command_runs_in_the_pod_and_its_exit_code_is_returned(self, api: Path) -> None:
        assert cluster.run_in_container("prod", "archive", ["own", "command"], ["cancel"]) == 7
        assert commands(api)[-1].endswith(" exec archive-0 --container=archive -- own command")

    def test_an_unknown_workload_is_refused_with_the_known_ones(self, api: Path) -> None:
        with pytest.raises(OperationError, match="no StatefulSet 'unknown'; its StatefulSets: archive"):
            cluster.run_in_container("prod", "unknown", ["own", "command"], ["cancel"])


class TestKubernetes:
    def test_the_task_runs_in_a_job_and_its_exit_code_is_returned(
        self, api: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        write(api, "then", {"items": [job("Failed"), pod(ended(7, "Error"), "Failed")]})
        assert cluster.run_task("prod", "backup") == 7
        assert capfd.readouterr() == ("the task's output\n", "")
        assert json.loads((api / "created").read_text())["spec"]["suspend"] is True
        verbs = [line.split("--request-timeout=30s ")[-1].split(" ")[0] for line in commands(api)]
        assert [one for one in verbs if one in ("create", "patch", "delete")] == ["create", "patch", "patch"]

    def test_no_scheduled_run_starts_meanwhile(self, api: Path) -> None:
        cluster.run_task("prod", "backup")
        (claimed, resumed) = (line for line in commands(api) if " patch " in line)
        assert "patch cronjob backup --subresource=status" in claimed
        patch = json.loads(claimed.partition("--patch=")[2])
        (active,) = patch["status"]["active"]
        assert (active["uid"], active["name"]) == ("uid-of-job", (api / "name").read_text().strip())
        assert patch["metadata"]["resourceVersion"] == "41"
        assert resumed.endswith('{"spec": {"suspend": false}}')

    @pytest.mark.parametrize("moment", ["before", "meanwhile"])
    def test_a_request_during_a_run_is_refused(self, api: Path, moment: str) -> None:
        if moment == "before":
            write(api, "cronjobs", {"items": [cron_job("backup-29")]})
        write(api, "conflict", cron_job("backup-29"))
        write(api, "job-backup-29", {"status": {"conditions": []}})
        with pytest.raises(OperationError, match="A run of 'backup' is in progress: Job backup-29"):
            cluster.run_task("prod", "backup")
        assert (api / "created").exists() is (api / "deleted").exists() is (moment == "meanwhile")
        assert not any('"suspend": false' in line for line in commands(api))

    @pytest.mark.parametrize("found", [{"status": {"conditions": [{"type": "Complete", "status": "True"}]}}, None])
    def test_an_ended_run_that_is_still_listed_is_no_obstacle(self, api: Path, found: Mapping[str, Any] | None) -> None:
        write(api, "cronjob", cron_job("backup-29"))
        (api / "job-backup-29").write_text(json.dumps(found) if found else "")
        assert cluster.run_task("prod", "backup") == 0

    def test_an_unknown_task_is_refused_with_the_known_ones(self, api: Path) -> None:
        with pytest.raises(OperationError, match=r"no scheduled task 'unknown'; its scheduled tasks: backup$"):
            cluster.run_task("prod", "unknown")

    def test_a_stack_without_tasks_may_not_be_up(self, api: Path) -> None:
        write(api, "cronjobs", {"items": []})
        with pytest.raises(OperationError, match="make up STACK=prod"):
            cluster.run_task("prod", "backup")

    def test_a_pod_that_does_not_start_is_reported_and_its_job_deleted(
        self, api: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("backends.kubernetes.problems.TOLERATED_S", 0.2)
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        write(api, "objects", {"items": [job(), pod(waiting, "Pending")]})
        with pytest.raises(OperationError, match=r"hasn't started after 0 s:\n.*ImagePullBackOff: no such image"):
            cluster.run_task("prod", "backup")
        assert (api / "deleted").exists()
        assert capfd.readouterr().err.count("ImagePullBackOff") == 1

    def test_a_pod_that_the_api_server_refuses_is_reported(self, api: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("backends.kubernetes.rollout_status.TOLERATED_S", 0)
        write(api, "objects", {"items": [job()]})
        write(api, "events", {"items": [{"reason": "FailedCreate", "message": "exceeded quota"}]})
        with pytest.raises(OperationError, match="FailedCreate: exceeded quota"):
            cluster.run_task("prod", "backup")

    def test_a_run_that_is_killed_for_its_memory_says_so(self, api: Path, capfd: pytest.CaptureFixture[str]) -> None:
        write(api, "then", {"items": [job("Failed"), pod(ended(137, "OOMKilled"), "Failed")]})
        assert cluster.run_task("prod", "backup") == 137
        assert "exit code 137 (OOMKilled)" in capfd.readouterr().err

    def test_a_run_that_reaches_its_time_limit_says_so(self, api: Path, capfd: pytest.CaptureFixture[str]) -> None:
        killed = pod(ended(143, "Error"), "Failed")
        killed["status"] |= {"reason": "DeadlineExceeded", "message": "Pod was active longer than specified"}
        write(api, "then", {"items": [job("Failed"), killed]})
        assert cluster.run_task("prod", "backup") == 143
        assert "DeadlineExceeded: Pod was active longer than specified" in capfd.readouterr().err

    def test_the_log_is_read_once_although_the_kubelet_reports_the_end_late(
        self, api: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (api / "then").rename(api / "ends")
        polls: list[int] = []

        def end_after_three_polls(_: float) -> None:
            polls.append(len(polls))
            if len(polls) == 3:
                (api / "ends").rename(api / "objects")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("operations.job_run.time.sleep", end_after_three_polls)
            assert cluster.run_task("prod", "backup") == 0
        assert capfd.readouterr().out == "the task's output\n"

    def test_a_log_that_is_cut_off_is_read_again(
        self, api: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(job_run, "RESUME_LOG_AFTER_S", 0)
        (api / "then").rename(api / "ends")
        text = (api / "kubectl").read_text()
        cut = f'*" --since=1s"*) mv "{api}/ends" "{api}/objects"; echo "the rest" ;;'
        (api / "kubectl").write_text(text.replace('    "logs "*)', f'    "logs "{cut}\n    "logs "*)'))
        assert cluster.run_task("prod", "backup") == 0
        assert capfd.readouterr().out == "the task's output\nthe rest\n"

    def test_a_job_that_ends_without_a_container_fails_with_its_reason(
        self, api: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        write(api, "objects", {"items": [job("Failed")]})
        assert cluster.run_task("prod", "backup") == 1
        assert "backup has failed: Why: so" in capfd.readouterr().err

    def test_ctrl_c_deletes_the_job(self, api: Path) -> None:
        (api / "hangs").touch()
        running = interruptible("run", "--stack", "prod", "backup")
        wait_until(lambda: any(" logs " in one for one in commands(api)))
        os.killpg(running.pid, signal.SIGINT)
        output, _ = running.communicate(timeout=30)
        assert running.returncode == 130, output
        assert "--cascade=foreground" in commands(api)[-1]


class TestJob:
    def test_it_has_the_pod_of_a_scheduled_run_and_one_attempt(self) -> None:
        template = cron_job()["spec"]["jobTemplate"]
        made = job_manifest(cron_job(), "backup-1", None)
        # The labels select the pod for the network policies of the task.
        assert made["spec"]["template"] == template["spec"]["template"]
        assert made["spec"]["activeDeadlineSeconds"] == template["spec"]["activeDeadlineSeconds"]
        assert (made["spec"]["backoffLimit"], made["spec"]["ttlSecondsAfterFinished"]) == (0, 3600)

    def test_the_cron_job_owns_it(self) -> None:
        (owner,) = job_manifest(cron_job(), "backup-1", None)["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("CronJob", "uid-of-cron-job", True)

    def test_it_carries_the_name_of_the_stack(self) -> None:
        found = job_manifest(cron_job(), "backup-1", None)["metadata"]["labels"]
        assert found[labels.INSTANCE_LABEL] == "pti-calendar-prod"

    def test_another_command_replaces_command_and_arguments_and_has_no_time_limit(self) -> None:
        spec = job_manifest(cron_job(), "backup-1", ["restore", "--latest"])["spec"]
        (container,) = spec["template"]["spec"]["containers"]
        assert (container["command"], "args" in container) == (["restore", "--latest"], False)
        assert "activeDeadlineSeconds" not in {*spec, *spec["template"]["spec"]}


def interruptible(*words: str) -> subprocess.Popen[str]:
    """Start the command line in a process group of its own, like a terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "operations", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell starts background jobs with SIGINT ignored, which processes inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)

"""A scheduled task's run on request, as a Job: on an API server without controllers, and on a node."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from backends.kubernetes.controllers import MAX_ATTEMPTS
from operations import job_run
from operations.job_run import JobRun
from operations.project import OperationError
from operations.render.manifests import manifests
from operations.render.placeholders import Placeholders
from settings.stores.redis import RedisSettings
from testbed import cluster
from tests.e2e.kubernetes.manifests import as_text
from tests.engine.waiting import until
from tests.unit.kubernetes_recording import record_workloads, scheduled
from workloads import Volume

COMMAND = ("sh", "-c", 'echo "as $(id -u)"; date +%s >>/dumps/runs; cat /dumps/runs | wc -l')


class TaskNamespace:
    """A scheduled task that isn't due, in a namespace of its own."""

    def __init__(self, server: cluster.Cluster, namespace: str) -> None:
        self._server = server
        self._namespace = namespace
        task = scheduled(
            image=RedisSettings().image,
            user=999,
            command=COMMAND,
            schedule="0 3 29 2 *",
            volumes=(Volume(name="dumps", mount="/dumps"),),
            timeout_s=120,
        )
        registered = record_workloads(task, namespace=namespace).registrations
        objects = [one.manifest for one in manifests(registered, Placeholders({}))]
        server.kubectl("apply", "--server-side", "--filename=-", input=as_text(objects))

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return self._server.kubectl("--namespace", self._namespace, *arguments, input=input)

    def run(self, *command: str) -> int:
        """Run the task, or another command."""

        def read(arguments: Sequence[str], given: str) -> str:
            done = subprocess.run(line(*arguments), input=given, capture_output=True, text=True)
            if done.returncode:
                raise OperationError(done.stderr)
            return done.stdout

        def line(*arguments: str) -> list[str]:
            return [*self._server.command(), "--namespace", self._namespace, *arguments]

        return JobRun(self.cron_job(), command, read, line).run()

    def cron_job(self) -> dict[str, Any]:
        """Return the CronJob."""
        found: dict[str, Any] = json.loads(self.kubectl("get", "cronjob", "backup", "--output=json"))
        return found

    def jobs(self) -> list[dict[str, Any]]:
        """Return the Jobs."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", "jobs", "--output=json"))["items"]
        return found


class TestApiServer:
    @pytest.fixture
    def task(self, api_server: cluster.Cluster, tmp_path: Path) -> TaskNamespace:
        """The task on an API server without controllers."""
        return TaskNamespace(api_server, f"task-{tmp_path.parent.name}-{tmp_path.name}".replace("_", "-").lower()[:60])

    def test_the_cron_job_lists_the_job_and_a_second_one_is_refused(self, task: TaskNamespace) -> None:
        codes: list[int] = []
        running = threading.Thread(target=lambda: codes.append(task.run()))
        running.start()
        job = until("the Job runs", lambda: next((one for one in task.jobs() if not one["spec"]["suspend"]), None))
        (active,) = task.cron_job()["status"]["active"]
        assert active["uid"] == job["metadata"]["uid"]
        assert job["spec"]["backoffLimit"] == 0 < MAX_ATTEMPTS - 1

        with pytest.raises(OperationError, match=f"in progress: Job {active['name']}"):
            task.run("true")
        assert [one["metadata"]["uid"] for one in task.jobs()] == [active["uid"]]

        ended = {
            "startTime": "2026-01-01T00:00:00Z",
            "conditions": [
                {"type": kind, "status": "True", "reason": "PodFailurePolicy", "message": "a stand-in ended it"}
                for kind in ("FailureTarget", "Failed")
            ],
        }
        target = ("patch", "job", active["name"], "--subresource=status", "--type=merge")
        task.kubectl(*target, f"--patch={json.dumps({'status': ended})}")
        running.join(60)
        assert codes == [1]

    def test_the_api_server_accepts_another_command(self, task: TaskNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
        # Without controllers no pod starts.
        monkeypatch.setattr(job_run, "TASK_PULL_TIMEOUT_S", 0)
        monkeypatch.setattr(job_run, "END_TIMEOUT_S", -9)
        with pytest.raises(OperationError, match="hasn't started"):
            task.run("restore", "--latest")
        (job,) = task.jobs()
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["restore", "--latest"]
        assert "deletionTimestamp" in job["metadata"]


class TestNode:
    @pytest.fixture(scope="class")
    def task(self, test_cluster: cluster.Cluster) -> Iterator[TaskNamespace]:
        """The task on the node."""
        yield TaskNamespace(test_cluster, "scheduled-task")
        test_cluster.kubectl("delete", "namespace", "scheduled-task", "--wait=true")
        cluster.recycle_volumes()

    def test_runs_share_the_volume_and_return_the_exit_code(
        self, task: TaskNamespace, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert task.run() == 0
        assert capfd.readouterr().out == "as 999\n1\n"
        assert task.run() == 0
        assert capfd.readouterr().out == "as 999\n2\n"
        assert task.run("sh", "-c", "echo other; exit 9") == 9
        assert capfd.readouterr().out == "other\n"
        until("no run is active", lambda: not task.cron_job()["status"].get("active"))

    def test_a_scheduled_run_waits_for_a_requested_one(self, task: TaskNamespace) -> None:
        codes: list[int] = []
        waiting = "until [ -e /dumps/end ]; do sleep 0.2; done; exit 5"
        running = threading.Thread(target=lambda: codes.append(task.run("sh", "-c", waiting)))
        running.start()
        (requested,) = until("the run has started", lambda: [one for one in task.jobs() if one["status"].get("ready")])
        task.kubectl("patch", "cronjob", "backup", "--patch", '{"spec": {"schedule": "* * * * *"}}')
        try:
            until("a run is due", lambda: "JobAlreadyActive" in task.kubectl("get", "events"))
            assert scheduled_job(task) is None
            name = requested["metadata"]["name"]
            task.kubectl("exec", f"job/{name}", "--", "touch", "/dumps/end")
            running.join(60)
            assert codes == [5]
            until(
                "the scheduled run has succeeded",
                lambda: (scheduled_job(task) or {}).get("status", {}).get("succeeded"),
            )
        finally:
            task.kubectl("patch", "cronjob", "backup", "--patch", '{"spec": {"schedule": "0 3 29 2 *"}}')

    def test_an_image_that_does_not_exist_is_reported(
        self, task: TaskNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("backends.kubernetes.problems.TOLERATED_S", 3)
        found = task.cron_job()
        found["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"] = "no-such-image:1"
        monkeypatch.setattr(task, "cron_job", lambda: found)
        with pytest.raises(OperationError, match=r"hasn't started .*\n.*(ErrImagePull|ImagePullBackOff)"):
            task.run()
        assert not [one for one in task.jobs() if "no-such-image" in json.dumps(one)]


def scheduled_job(task: TaskNamespace) -> dict[str, Any] | None:
    return next((one for one in task.jobs() if one["spec"]["backoffLimit"] == MAX_ATTEMPTS - 1), None)

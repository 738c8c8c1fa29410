"""A run of a scheduled task on request: a Job like those that its CronJob creates.

The CronJob owns the Job and lists it as active. So its controller starts no scheduled run meanwhile
(`concurrencyPolicy: Forbid`) and removes the entry once the Job has ended. A Job of `kubectl create job --from` isn't
listed, and may run beside a scheduled one.
"""

from __future__ import annotations

import copy
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from backends.kubernetes.controllers import TASK_PULL_TIMEOUT_S
from backends.kubernetes.labels import INSTANCE_LABEL, NAME_LABEL
from backends.kubernetes.problems import Object, Problem, last_lines, pod_problems, statuses
from backends.kubernetes.rollout_status import refusal_problem, rollout
from operations.project import OperationError

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C has ended."""

KEPT_S = 3600
"""Seconds for which an ended Job is kept with its log. A failed one causes the alert JobFailed."""

POLL_S = 1.0
CLAIM_ATTEMPTS = 10
END_TIMEOUT_S = 30
"""Seconds in addition to its grace period that the wait for a deleted pod lasts."""

LOST_CONNECTION_S = 60.0
"""Seconds without a response of the cluster after which the wait for a run ends. The run doesn't."""

FINISHED_CONDITIONS = ("Complete", "Failed")
RESUME_LOG_AFTER_S = 15.0
"""Seconds after the end of the log for which the kubelet may still report a container as running."""

ORDINARY_REASONS = ("Completed", "Error")
"""Reasons of a container's end that its exit code and its log explain."""


class JobRun:
    """One run.

    Args:
        cron_job: the CronJob of the scheduled task.
        command: runs instead of the task's command, without its time limit.
        kubectl: returns kubectl's output; the second argument is its standard input.
        command_line: returns kubectl's command line for arguments.
    """

    def __init__(
        self,
        cron_job: Object,
        command: Sequence[str] | None,
        kubectl: Callable[[Sequence[str], str], str],
        command_line: Callable[..., list[str]],
    ) -> None:
        self._cron_job = cron_job
        self._workload = str(cron_job["metadata"]["name"])
        self._name = f"{self._workload}-{secrets.token_hex(4)}"
        self._manifest = job_manifest(cron_job, self._name, command)
        self._kubectl = kubectl
        self._command_line = command_line
        self._uid = ""
        self._reported: dict[tuple[str, str], float] = {}

    def run(self) -> int:
        """Start the Job, stream its log, and return its exit code. Ctrl-C deletes it.

        Raises:
            OperationError: a run is in progress, the Job's pod doesn't start, or the cluster doesn't respond.
        """
        try:
            self._start()
            return self._wait_until_ended()
        except KeyboardInterrupt:
            print(f"· Job {self._name} is deleted", file=sys.stderr, flush=True)
            self._delete()
            return INTERRUPTED

    def _start(self) -> None:
        self._require_idle(self._cron_job)
        created = self._read(["create", "--filename=-", "--output=json"], json.dumps(self._manifest))
        self._uid = created["metadata"]["uid"]
        try:
            self._become_active(created)
            resumed = json.dumps({"spec": {"suspend": False}})
            self._kubectl(["patch", "job", self._name, "--type=merge", f"--patch={resumed}"], "")
        except OperationError:
            self._delete()
            raise

    def _become_active(self, job: Object) -> None:
        """Add the Job to the CronJob's active ones, unless there is one."""
        reference = {key: job["metadata"][key] for key in ("name", "namespace", "uid")}
        active = [{"apiVersion": "batch/v1", "kind": "Job", **reference}]
        for attempt in range(CLAIM_ATTEMPTS):
            cron_job = self._read(["get", "cronjob", self._workload, "--output=json"])
            self._require_idle(cron_job)
            version = cron_job["metadata"]["resourceVersion"]
            patch = json.dumps({"metadata": {"resourceVersion": version}, "status": {"active": active}})
            target = ["patch", "cronjob", self._workload, "--subresource=status", "--type=merge", f"--patch={patch}"]
            try:
                self._kubectl(target, "")
            except OperationError as error:
                if "(Conflict)" not in str(error) or attempt == CLAIM_ATTEMPTS - 1:
                    raise
            else:
                return

    def _require_idle(self, cron_job: Object) -> None:
        for one in cron_job.get("status", {}).get("active", []):
            if not self._has_ended(one["name"]):
                raise OperationError(
                    f"A run of '{self._workload}' is in progress: Job {one['name']}. Start again once it has ended."
                )

    def _has_ended(self, job: str) -> bool:
        found = self._kubectl(["get", "job", job, "--ignore-not-found", "--output=json"], "")
        conditions = json.loads(found).get("status", {}).get("conditions", []) if found else []
        return not found or any(one["type"] in FINISHED_CONDITIONS and one["status"] == "True" for one in conditions)

    def _wait_until_ended(self) -> int:
        began = time.monotonic()
        followed_at: float | None = None
        while True:
            objects = self._objects()
            state = rollout("Job", self._name, self._uid, objects)
            if state is None:
                raise OperationError(f"Job {self._name} is gone: it was deleted.")
            pods = [pod for pod in objects if _belongs_to(pod, self._uid)]
            containers = [one for pod in pods for one in statuses(pod)]
            if state.is_done or state.failure:
                return self._exit_code(pods, state.failure)
            if started := [pod for pod in pods if _has_started(pod)]:
                is_running = any("running" in one.get("state", {}) for one in containers)
                if followed_at is None or (is_running and time.monotonic() - followed_at > RESUME_LOG_AFTER_S):
                    self._follow_log(started[0]["metadata"]["name"], followed_at)
                    followed_at = time.monotonic()
            else:
                self._require_start(pods, waited_s=time.monotonic() - began)
            time.sleep(POLL_S)

    def _objects(self) -> list[Object]:
        """Return the Jobs and pods of the task. A connection that is lost for a while doesn't end the wait."""
        began = time.monotonic()
        while True:
            selected = f"--selector={NAME_LABEL}={self._workload}"
            try:
                found: list[Object] = self._read(["get", "jobs,pods", selected, "--output=json"])["items"]
            except OperationError as error:
                if time.monotonic() - began > LOST_CONNECTION_S:
                    raise OperationError(
                        f"{error}\nThe run continues. Its log: kubectl logs job/{self._name}"
                    ) from None
                time.sleep(POLL_S)
            else:
                return found

    def _follow_log(self, pod: str, followed_at: float | None) -> None:
        """Print the log until the container ends; from where it was cut off if the connection was lost."""
        # The kubelet's clock measures `--since`.
        since = [] if followed_at is None else [f"--since={max(1, round(time.monotonic() - followed_at))}s"]
        subprocess.run(self._command_line("logs", pod, f"--container={self._workload}", "--follow", *since))

    def _exit_code(self, pods: Sequence[Object], failure: str) -> int:
        """Return the exit code of the container, and print a reason that neither the code nor the log explains."""
        for pod in pods:
            for container in statuses(pod):
                if ended := container.get("state", {}).get("terminated"):
                    if reason := pod["status"].get("reason"):
                        print(f"{self._workload} has failed: {reason}: {pod['status'].get('message')}", file=sys.stderr)
                    elif ended.get("reason") not in ORDINARY_REASONS:
                        print(f"{self._workload} has failed: {last_lines(container)}", file=sys.stderr)
                    return int(ended["exitCode"])
        print(f"{self._workload} has failed: {failure}", file=sys.stderr)
        return 1

    def _require_start(self, pods: Sequence[Object], *, waited_s: float) -> None:
        """Report why the pod hasn't started, and delete the Job if that doesn't change."""
        now = time.monotonic()
        problems = {one.key: one for one in self._problems(pods)}
        for key, problem in problems.items():
            if key not in self._reported and not problem.is_expected:
                print(f"· {problem}", file=sys.stderr, flush=True)
        self._reported = {key: self._reported.get(key, now) for key in problems}
        lasting = [
            one
            for key, one in problems.items()
            if one.tolerated_s is not None and now - self._reported[key] >= one.tolerated_s
        ]
        if lasting or waited_s > TASK_PULL_TIMEOUT_S:
            self._delete()
            reasons = "\n".join(f"  {one}" for one in lasting or problems.values())
            raise OperationError(f"{self._workload} hasn't started after {waited_s:.0f} s:\n{reasons}")

    def _problems(self, pods: Sequence[Object]) -> Iterator[Problem]:
        for pod in pods:
            yield from pod_problems(pod, {})
        if not pods:
            selected = f"type=Warning,reason=FailedCreate,involvedObject.name={self._name}"
            events = self._read(["get", "events", f"--field-selector={selected}", "--output=json"])["items"]
            for event in events[-1:]:
                yield refusal_problem(f"Job {self._name}", str(event["reason"]), str(event.get("message", "")))

    def _delete(self) -> None:
        """Delete the Job, and wait until its pod has ended: otherwise another run could start beside it."""
        grace_s = self._manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        waiting = ("--cascade=foreground", f"--timeout={grace_s + END_TIMEOUT_S}s")
        arguments = ("delete", "job", self._name, "--ignore-not-found", *waiting)
        subprocess.run(self._command_line(*arguments), stdout=subprocess.DEVNULL)

    def _read(self, arguments: Sequence[str], given: str = "") -> Any:
        return json.loads(self._kubectl(arguments, given))


def job_manifest(cron_job: Object, name: str, command: Sequence[str] | None) -> dict[str, Any]:
    """Return a suspended Job with one attempt. Another command has no time limit: a restore may take longer than a
    backup, and its operator can end it."""
    template = copy.deepcopy(cron_job["spec"]["jobTemplate"])
    owner, spec = cron_job["metadata"], template["spec"]
    spec |= {"suspend": True, "backoffLimit": 0, "ttlSecondsAfterFinished": KEPT_S}
    if command:
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        container.pop("args", None)
        container["command"] = [*command]
        for limited in (spec, pod):
            limited.pop("activeDeadlineSeconds", None)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": owner["namespace"],
            "labels": {**template["metadata"]["labels"], INSTANCE_LABEL: owner["labels"][INSTANCE_LABEL]},
            "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
            "ownerReferences": [
                {
                    "apiVersion": cron_job["apiVersion"],
                    "kind": cron_job["kind"],
                    "name": owner["name"],
                    "uid": owner["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": spec,
    }


def _belongs_to(pod: Object, job: str) -> bool:
    return pod["kind"] == "Pod" and job in [one["uid"] for one in pod["metadata"].get("ownerReferences", [])]


def _has_started(pod: Object) -> bool:
    states: list[Mapping[str, Any]] = [one.get("state", {}) for one in statuses(pod)]
    return any("running" in state or "terminated" in state for state in states)

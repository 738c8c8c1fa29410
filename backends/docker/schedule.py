"""A scheduled task as a container that keeps running, and starts the task by its schedule.

An engine has no scheduler, so the container's process is one (`assets/schedule/scheduler.sh`). `docker exec` of the
same script starts a run on request.
"""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from backends.docker.engine import SCHEDULER_PATH
from workloads import Exec, FileSet, Probe, ScheduledTask, StatefulService, Volume, Workload

SCRIPT = Path(__file__).parents[2] / "assets" / "schedule" / "scheduler.sh"

STATE_MOUNT = "/var/tmp"  # noqa: S108 - in the container
"""Mount point of the volume with the scheduler's state. A new volume belongs to the owner of the image's directory, and
this directory is writable for every user."""


def scheduler(task: ScheduledTask) -> StatefulService:
    """Return the scheduler of a task."""
    shared: dict[str, Any] = {field.name: getattr(task, field.name) for field in fields(Workload)}
    directory, _, script = SCHEDULER_PATH.rpartition("/")
    files = FileSet(
        name="schedule", directory=directory, files={script: SCRIPT.read_text(), "task.sh": _settings(task)}
    )
    return StatefulService(
        **shared
        | {
            "command": ("sh", SCHEDULER_PATH, "serve"),
            "arguments": (),
            "file_sets": (*task.file_sets, files),
            "volumes": (*task.volumes, Volume(name=f"{task.name}-runs", mount=STATE_MOUNT)),
            "readiness": Probe(check=Exec(command=("sh", SCHEDULER_PATH, "check"))),
        }
    )


def _settings(task: ScheduledTask) -> str:
    """Return the script's settings."""
    return (
        f"schedule={shlex.quote(task.schedule)}\n"
        f"start_deadline_s={task.start_deadline_s}\n"
        f"timeout_s={task.timeout_s}\n"
        f"stop_grace_s={task.stop_grace_s}\n"
        f"state_dir={STATE_MOUNT}/schedule\n"
        f'with_task() {{ "$@" {shlex.join([*task.command, *task.arguments])}; }}\n'
    )

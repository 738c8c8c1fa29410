"""The containers of a stack on its Docker engine: status, logs and retained volumes."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from backends.docker.engine import (
    CREATOR_LABEL,
    DATA_LABEL,
    FILES,
    IDENTITY_RECORD,
    SCHEDULE_LABEL,
    SCHEDULER_PATH,
    STACK_LABEL,
    STATE_LABEL,
    WORKLOAD_LABEL,
    Engine,
    EngineError,
)
from operations import container_diagnosis
from operations.configuration import read_configuration
from operations.container_repairs import repair
from operations.doctor.finding import ClockOffset, Finding, Instance
from operations.project import OperationError
from operations.runtimes import RetainedData, no_such_task

RUNNING_STATES = ("running", "restarting")
"""States of a running container, including those that the engine recovers from by itself."""

UNREADY_STATUSES = ("(unhealthy)", "(health: starting)", "(Paused)", "Restarting", "Dead")
"""Parts of the engine's status text for a container that isn't ready. A finished task is `Exited`."""

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C has ended."""

REMOVAL_TIMEOUT_S = 120.0
"""Seconds that a removal waits for another process that removes the same containers."""


@dataclass(frozen=True)
class ContainerStatus:
    """One workload's container."""

    workload: str
    container: str
    status: str
    ports: str
    schedule: str
    """Cron expression of a scheduled task; empty for any other workload."""


def status(stack: str) -> list[ContainerStatus]:
    """Return every started container of the stack by name."""
    names, workload, schedule = ("{{json .Names}}", *map(_label_column, (WORKLOAD_LABEL, SCHEDULE_LABEL)))
    columns = [names, workload, "{{json .Status}}", "{{json .Ports}}", schedule]
    listed = _docker(
        stack, "ps", "--all", "--filter", f"label={STACK_LABEL}={stack}", "--format", f"[{','.join(columns)}]"
    )
    rows = [json.loads(line) for line in listed.splitlines()]
    return sorted(
        (
            ContainerStatus(workload, container, state, _published(ports), schedule)
            for container, workload, state, ports, schedule in rows
            if not state.startswith("Created")  # Leave out containers that only copy files.
        ),
        key=lambda running: running.workload,
    )


def _label_column(label: str) -> str:
    return f'{{{{json (.Label "{label}")}}}}'


def unreachable_reason(stack: str) -> str | None:
    """Return why the engine doesn't respond; None if it does."""
    try:
        _engine(stack).run("version", "--format", "{{.Server.Version}}")
    except EngineError as error:
        return f"No Docker engine responds {location(stack)}:\n  {error}"
    return None


def why_elsewhere(stack: str, recorded: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why the stack isn't on the configured engine; None if it is, or if it has no record."""
    if values := _recorded_identity(recorded):
        try:
            return _engine(stack).why_another(stack, values)
        except EngineError as error:
            return f"No Docker engine answers {location(stack)}:\n  {error}"
    return None


def _recorded_identity(recorded: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the identity that `backends.docker.identity` recorded; None if an earlier release created the stack."""
    for one in recorded:
        if str(one["urn"]).endswith(f"::{IDENTITY_RECORD}") and (values := one.get("outputs", {}).get("output")):
            identity: Mapping[str, Any] = values
            return identity
    return None


def may_have_drifted(stack: str, recorded: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a container, network or volume of the state is missing, or a container is stopped.

    A refresh of the dev stack takes 4 s, this 0.1 s.
    """
    listed = {
        "container": _docker(stack, "ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.State}}"),
        "network": _docker(stack, "network", "ls", "--no-trunc", "--quiet"),
        "volume": _docker(stack, "volume", "ls", "--quiet"),
    }
    existing = {kind: dict((line + " ").split(" ", 1) for line in lines.splitlines()) for kind, lines in listed.items()}
    for one in recorded:
        kind = str(one["type"]).rpartition(":")[2].lower()
        if kind not in existing:
            continue
        state = existing[kind].get(str(one.get("id")))
        if state is None or (kind == "container" and _must_run(one) and state.strip() not in RUNNING_STATES):
            return True
    return False


def _must_run(container: Mapping[str, Any]) -> bool:
    """Return whether a recorded container must keep running: it is neither a task nor one that only copies files."""
    inputs = container.get("inputs", {})
    return bool(inputs.get("start", True)) and inputs.get("restart") != "no"


def repair_manual_changes(stack: str, recorded: Sequence[Mapping[str, Any]]) -> None:
    """Repair running containers: see `container_repairs`. `may_have_drifted` finds the others."""
    try:
        found = _engine(stack).containers(stack)
    except EngineError as error:
        raise OperationError(str(error)) from None
    repair(found.values(), partial(_docker, stack), recorded)


def unready_workloads(stack: str) -> list[str]:
    """Return the containers that are unhealthy, starting, paused or in a crash loop."""
    return [
        f"{row.workload}: {row.status} (container {row.container})"
        for row in status(stack)
        if any(part in row.status for part in UNREADY_STATUSES)
    ]


def workload_findings(stack: str, recorded: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Return what is wrong with the stack's containers: see `container_diagnosis`."""
    must_run = [one for one in recorded if str(one["type"]).endswith(":Container") and _must_run(one)]
    return container_diagnosis.findings(_engine(stack), stack, must_run)


def instances(stack: str) -> list[Instance]:
    """Return the running containers of the stack that aren't tasks, with their persistent volumes."""
    return container_diagnosis.instances(_engine(stack), stack)


def execute(stack: str, instance: Instance, command: Sequence[str]) -> str:
    """Return the output of a command in a container."""
    return container_diagnosis.execute(_engine(stack), instance, command)


def taken_ports(stack: str, ports: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the host ports that other programs use."""
    address = str(read_configuration(stack)[0].backend.bind_address)
    return container_diagnosis.taken(_engine(stack), stack, ports, address)


def clock_offset(stack: str) -> ClockOffset:
    """Return the offset of the engine's clock."""
    return container_diagnosis.clock_offset(_engine(stack))


def show_status(stack: str) -> None:
    """Print a table of the stack's containers, and one of its scheduled tasks with their last results."""
    rows = _started(stack)
    _print_table([("WORKLOAD", "STATUS", "PUBLISHED"), *((row.workload, row.status, row.ports) for row in rows)])
    if tasks := [row for row in rows if row.schedule]:
        print()
        results = [(row.workload, row.schedule, _last_result(stack, row)) for row in tasks]
        _print_table([("SCHEDULED TASK", "SCHEDULE (UTC)", "LAST RUN"), *results])


def _started(stack: str) -> list[ContainerStatus]:
    """Return the stack's containers; refuse a stack without any."""
    rows = status(stack)
    if not rows:
        raise OperationError(f"Stack '{stack}' has no containers {location(stack)}. Bring it up: make up STACK={stack}")
    return rows


def _print_table(table: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _last_result(stack: str, task: ContainerStatus) -> str:
    try:
        return _docker(stack, "exec", task.container, "sh", SCHEDULER_PATH, "status").strip()
    except OperationError as error:
        return f"unknown: {error}"


def follow_logs(stack: str, workload: str, *, follow: bool) -> int:
    """Follow the logs of a workload's container. Return the docker command's exit code."""
    names = {row.workload: row.container for row in status(stack)}
    if workload not in names:
        known = ", ".join(names) or "none: the stack is not up"
        raise OperationError(f"Stack '{stack}' runs no '{workload}'; it runs {known}.")
    arguments = ["docker", "logs", "--tail", "200", *(["--follow"] if follow else []), names[workload]]
    try:
        return subprocess.run(arguments, env=_engine(stack).environment).returncode
    except KeyboardInterrupt:
        return 0


def run_task(stack: str, workload: str, command: Sequence[str] | None = None) -> int:
    """Run a scheduled task, or another command, in the container of its scheduler. See `Runtime.run_task`."""
    tasks = {row.workload: row for row in _started(stack) if row.schedule}
    if workload not in tasks:
        raise no_such_task(stack, workload, tasks)
    script = ["sh", SCHEDULER_PATH]
    return _run(stack, tasks[workload], [*script, "run", *(command or ())], [*script, "cancel"])


def run_in_container(stack: str, workload: str, command: Sequence[str], cancel: Sequence[str]) -> int:
    """Run a command in a workload's container. See `Runtime.run_in_container`."""
    rows = {row.workload: row for row in _started(stack)}
    if workload not in rows:
        raise OperationError(f"Stack '{stack}' runs no '{workload}'; it runs {', '.join(rows)}.")
    return _run(stack, rows[workload], command, cancel)


def _run(stack: str, row: ContainerStatus, command: Sequence[str], cancel: Sequence[str]) -> int:
    if not row.status.startswith("Up "):
        raise OperationError(
            f"The container '{row.container}' isn't running ({row.status}). Start it: make up STACK={stack}. "
            f"If it doesn't keep running: make logs STACK={stack} SERVICE={row.workload}"
        )
    # In a session of its own, the docker command doesn't get Ctrl-C: it would end and leave the run alone.
    running = subprocess.Popen(
        ["docker", "exec", row.container, *command],
        env=_engine(stack).environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return running.wait()
    except KeyboardInterrupt:
        _docker(stack, "exec", row.container, *cancel)
        running.wait()
        return INTERRUPTED


def volumes(stack: str) -> list[str]:
    """Return the names of the stack's volumes, those with data and those with files."""
    return sorted(_docker(stack, "volume", "ls", "--quiet", "--filter", f"label={STACK_LABEL}={stack}").split())


def owners(stack: str) -> dict[str, list[str]]:
    """Return the ids of the stack's containers, grouped by the creator of their state."""
    line = f'{{{{.ID}}}} {{{{.Label "{CREATOR_LABEL}"}}}}'
    own = ("--filter", f"label={STACK_LABEL}={stack}")
    found: dict[str, list[str]] = {}
    for listed in _docker(stack, "ps", "--all", "--no-trunc", *own, "--format", line).splitlines():
        container, _, owner = listed.partition(" ")
        found.setdefault(owner or "an earlier release", []).append(container)
    return found


def remove(stack: str, containers: Collection[str]) -> None:
    """Remove these containers of the stack, and its networks unless another container may use them; volumes stay."""
    own = ("--no-trunc", "--quiet", "--filter", f"label={STACK_LABEL}={stack}")

    def listed(*command: str) -> list[str]:
        return _docker(stack, *command, *own).split()

    _remove_all(stack, ("rm", "--force"), lambda: [one for one in listed("ps", "--all") if one in containers])
    if not listed("ps", "--all"):
        _remove_all(stack, ("network", "rm"), lambda: listed("network", "ls"))


def _remove_all(stack: str, command: Sequence[str], remaining: Callable[[], list[str]]) -> None:
    """Run the command until nothing remains. It fails if another process removes the same objects."""
    deadline = time.monotonic() + REMOVAL_TIMEOUT_S
    former: list[str] = []
    while found := remaining():
        try:
            _docker(stack, *command, *found)
        except OperationError as error:
            is_progressing = found != former or "already in progress" in str(error)
            if not is_progressing or time.monotonic() > deadline:
                raise
            former = found


def retained_data(stack: str) -> list[RetainedData]:
    """Return the stack's volumes with data. One that an operator has created may have the stack's label only."""
    columns = ",".join(["{{json .Name}}", _label_column(WORKLOAD_LABEL), _label_column(DATA_LABEL)])
    listed = _docker(
        stack, "volume", "ls", "--filter", f"label={STACK_LABEL}={stack}", "--format", f"[{columns}]"
    ).splitlines()
    rows = sorted(json.loads(line) for line in listed)
    return [RetainedData(name, workload) for name, workload, data in rows if data != FILES]


def deletion_plan(stack: str, kept: Sequence[RetainedData]) -> list[str]:
    """Return the names of the volumes with data that aren't kept."""
    return [one.name for one in retained_data(stack) if one not in kept]


def delete_data(stack: str, kept: Sequence[RetainedData]) -> None:
    """Delete the remaining volumes; `destroy` already deleted those with files."""
    kept_names = {one.name for one in kept}
    if remaining := [name for name in volumes(stack) if name not in kept_names]:
        remove_volumes(stack, remaining)


def destroy_obstacles(stack: str, recorded: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the stack's containers that belong to another state, whose data would be deleted, and the running
    containers of others in the stack's networks: the engine refuses to remove such a network."""
    return [*_of_other_states(stack, recorded), *_in_own_networks(stack)]


def _of_other_states(stack: str, recorded: Sequence[Mapping[str, Any]]) -> list[str]:
    own_state = (_recorded_identity(recorded) or {}).get("state")
    filters = ("--filter", f"label={STACK_LABEL}={stack}", "--filter", f"label={STATE_LABEL}")
    line = f'{{{{.Label "{STATE_LABEL}"}}}} {{{{.Label "{CREATOR_LABEL}"}}}}'
    listed = _docker(stack, "ps", "--all", *filters, "--format", line).splitlines()
    others = Counter(creator for state, _, creator in (one.partition(" ") for one in listed) if state != own_state)
    return [
        f"{count} containers of the same stack name belong to another state, created by {creator}: destroy them there, "
        f"or make take-over STACK={stack}"
        for creator, count in others.items()
    ]


def _in_own_networks(stack: str) -> list[str]:
    filters = ("--filter", f"label={STACK_LABEL}={stack}")
    own = set(_docker(stack, "ps", "--all", "--no-trunc", "--quiet", *filters).split())
    networks = _docker(stack, "network", "ls", "--quiet", *filters).split()
    found = json.loads(_docker(stack, "network", "inspect", *networks)) if networks else []
    return [
        f"container '{container['Name']}' is in network '{network['Name']}': "
        f"docker network disconnect --force {network['Name']} {container['Name']}"
        for network in found
        for identity, container in sorted((network["Containers"] or {}).items())
        if identity not in own
    ]


def location(stack: str) -> str:
    """Return the engine's address, and where it comes from."""
    try:
        return f"on the Docker engine {_engine(stack).endpoint}"
    except EngineError as error:
        raise OperationError(str(error)) from None


def remove_volumes(stack: str, names: Sequence[str]) -> None:
    """Delete volumes with their data."""
    _docker(stack, "volume", "rm", *names)


def _published(ports: str) -> str:
    return ", ".join(part.split("->")[0] for part in ports.split(", ") if "->" in part)


def _engine(stack: str) -> Engine:
    return Engine(read_configuration(stack)[0].backend.host)


def _docker(stack: str, *arguments: str) -> str:
    try:
        return _engine(stack).run(*arguments)
    except EngineError as error:
        raise OperationError(f"'docker {arguments[0]}' failed:\n  {error}") from None

"""What is wrong with the containers of a stack, as `docker inspect` shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from time import time
from typing import Any

from backends.docker.engine import DATA_LABEL, PERSISTENT, STACK_LABEL, WORKLOAD_LABEL, Engine, EngineError
from backends.docker.ports import taken_ports
from backends.docker.readiness import CRASH_LOOP_RESTARTS, STOPPED_STATES
from operations.doctor.finding import ClockOffset, CommandFailed, Finding, Instance
from operations.project import OperationError

EXECUTION_TIMEOUT_S = 15
LOG_LINES = 10
STOPPED_CODES = (0, 130, 137, 143, 255)
"""Exit codes of a task that succeeded, or that was stopped together with the engine. It has failed with any other."""


def findings(engine: Engine, stack: str, must_run: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Return the findings about the containers.

    Args:
        engine: the stack's engine.
        stack: its name.
        must_run: the containers of the state that must keep running.
    """
    existing = _containers(engine, stack)
    found = [one for container in existing for one in _container_findings(engine, stack, container)]
    identities = {one["Id"] for one in existing}
    for one in must_run:
        if one.get("id") not in identities:
            problem = f"Its container '{one.get('outputs', {}).get('name', '')}' was removed."
            name = str(one["urn"]).rpartition("::")[2]
            found.append(Finding("error", name, problem, f"Create it again; its data remains: make up STACK={stack}"))
    return found


def instances(engine: Engine, stack: str) -> list[Instance]:
    """Return the running containers that aren't tasks, each with its persistent volumes."""
    filters = ("--filter", f"label={STACK_LABEL}={stack}", "--filter", f"label={DATA_LABEL}={PERSISTENT}")
    try:
        data = set(engine.run("volume", "ls", "--quiet", *filters).split())
    except EngineError as error:
        raise OperationError(f"'docker volume' failed:\n  {error}") from None
    return [
        Instance(
            _workload(one),
            str(one["Name"]).removeprefix("/"),
            volumes=tuple(
                (mount["Name"], mount["Destination"]) for mount in one["Mounts"] if mount.get("Name") in data
            ),
        )
        for one in _containers(engine, stack)
        if one["State"]["Status"] == "running" and not _is_task(one)
    ]


def execute(engine: Engine, instance: Instance, command: Sequence[str]) -> str:
    """Return the output of a command in a container."""
    try:
        return engine.run("exec", instance.name, *command, timeout_s=EXECUTION_TIMEOUT_S)
    except EngineError as error:
        raise CommandFailed(str(error)) from None


def taken(engine: Engine, stack: str, ports: Iterable[tuple[str, int]], address: str) -> list[tuple[str, int]]:
    """Return the ports that other programs use."""
    if not engine.is_local:
        raise OperationError(f"the host ports are those of another machine ({engine.address})")
    try:
        return taken_ports(ports, engine=engine, stack=stack, address=address)
    except EngineError as error:
        raise OperationError(f"'docker inspect' failed:\n  {error}") from None


def clock_offset(engine: Engine) -> ClockOffset:
    """Return the offset of the engine's clock."""
    before = time()
    try:
        text = engine.run("info", "--format", "{{.SystemTime}}").strip()
    except EngineError as error:
        raise OperationError(f"'docker info' failed:\n  {error}") from None
    after = time()
    # The engine writes nanoseconds and its own time zone.
    whole, _, rest = text.partition(".")
    zone = rest.lstrip("0123456789") if rest else ""
    try:
        seconds = datetime.fromisoformat(f"{whole}{zone}".replace("Z", "+00:00")).replace(microsecond=0)
    except ValueError:
        raise OperationError(f"the engine reports no time, but {text!r}") from None
    aware = seconds if seconds.tzinfo else seconds.replace(tzinfo=UTC)
    return ClockOffset(aware.timestamp() + 0.5 - (before + after) / 2, 0.5 + (after - before) / 2)


def _containers(engine: Engine, stack: str) -> list[dict[str, Any]]:
    """Return the stack's containers, without those that only copy files."""
    try:
        listed = engine.containers(stack).values()
    except EngineError as error:
        raise OperationError(f"'docker inspect' failed:\n  {error}") from None
    return [one for one in listed if one["State"]["Status"] != "created" or one["State"].get("Error")]


def _container_findings(engine: Engine, stack: str, container: Mapping[str, Any]) -> Iterator[Finding]:
    workload, state = _workload(container), container["State"]
    status, health = state["Status"], state.get("Health") or {}
    restarts = container.get("RestartCount", 0)
    is_healthy = health.get("Status", "healthy") == "healthy"
    logs, update = f"make logs STACK={stack} SERVICE={workload}", f"make up STACK={stack}"
    if status == "created":
        fix = f"Correct this, then: {update}"
        yield Finding("error", workload, "Its container can't be started.", fix, str(state["Error"]))
    elif status == "paused":
        yield Finding("error", workload, "It is paused, so it doesn't respond.", f"Continue it: {update}")
    elif status == "restarting" or (restarts >= CRASH_LOOP_RESTARTS and not is_healthy):
        yield _crash(engine, container, logs)
    elif status in STOPPED_STATES:
        if not _is_task(container):
            problem = f"It has been stopped (exit code {state['ExitCode']})."
            if state.get("Error"):
                problem = f"It has been stopped, and can't be started (exit code {state['ExitCode']})."
            output = str(state.get("Error") or _last_lines(engine, container))
            yield Finding("error", workload, problem, f"Start it: {update}. If it stops again: {logs}", output)
        elif state["ExitCode"] not in STOPPED_CODES:
            fix = f"Correct what its log reports ({logs}), then run it again: {update}"
            output = _last_lines(engine, container)
            yield Finding("error", workload, f"The task has failed (exit code {state['ExitCode']}).", fix, output)
    elif health.get("Status") == "unhealthy":
        problem = "It runs, but isn't ready: its health check fails."
        yield Finding("error", workload, problem, f"See its log: {logs}", _last_check(health))
    elif health.get("Status") == "starting":
        problem = "It is still starting; clients can't use it yet."
        yield Finding(
            "warning", workload, problem, f"Run this again in a minute. See its log: {logs}", _last_check(health)
        )


def _crash(engine: Engine, container: Mapping[str, Any], logs: str) -> Finding:
    state, restarts = container["State"], container.get("RestartCount", 0)
    if state.get("OOMKilled"):
        limit = container["HostConfig"].get("Memory", 0) // 2**20
        problem = f"It has used all of its {limit} MiB of memory and was killed (restarted {restarts} times)."
        fix = "Raise memoryMib in its section of the configuration (docs/configuration.md), then update the stack."
    else:
        ended = "" if state["Status"] == "running" else f"exit code {state['ExitCode']}, "
        problem = f"It keeps crashing ({ended}restarted {restarts} times)."
        fix = f"Correct what its log reports, then update the stack. The whole log: {logs}"
    return Finding("error", _workload(container), problem, fix, _last_lines(engine, container))


def _last_lines(engine: Engine, container: Mapping[str, Any]) -> str:
    try:
        return engine.last_lines(container["Id"], LOG_LINES)
    except EngineError as error:
        return f"(its log can't be read: {error})"


def _last_check(health: Mapping[str, Any]) -> str:
    """Return the output of the last health check."""
    return str(((health.get("Log") or [{}])[-1]).get("Output", "")).strip()


def _workload(container: Mapping[str, Any]) -> str:
    return str((container["Config"]["Labels"] or {}).get(WORKLOAD_LABEL, container["Name"]))


def _is_task(container: Mapping[str, Any]) -> bool:
    return bool(container["HostConfig"]["RestartPolicy"]["Name"] == "no")

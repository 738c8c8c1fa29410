"""A workload's probes as the health check of its container.

Docker has no probes: the check is a command in the container that uses the tools in the image.
"""

from __future__ import annotations

import math
import shlex

import pulumi_docker as docker

from workloads import Check, Exec, HttpGet, Liveness, LongRunning, Probe, Task, Workload

# Each check starts processes in the container. Before engine 25 (`start_interval`), Docker has only one interval for
# all checks of a container, and it must be short, because dependents wait for the first success. Therefore, after a
# success, a check waits before it ends (a task's) or begins (the others).

# A task's container keeps running after success, so that its health check can delay dependents. /dev/shm is writable
# for every user, even with a read-only root, and new at every start of a container.
TASK_SUCCEEDED_FILE = "/dev/shm/task-succeeded"  # noqa: S108 - private to the container
TASK_SCRIPT = f'if "$@"; then : > {TASK_SUCCEEDED_FILE}; exec sleep infinity; else exit "$?"; fi'
TASK_PERIOD_S = 2
TASK_CHECK_SCRIPT = f"""
[ -e {TASK_SUCCEEDED_FILE} ] || exit 1
[ ! -e {TASK_SUCCEEDED_FILE}-reported ] || exec sleep "$1"
: > {TASK_SUCCEEDED_FILE}-reported
"""
FINISHED_TASK_CHECK_S = 60

# Docker restarts a container whose process exits, but not an unhealthy one. Therefore the check kills the processes,
# with a signal to all except process 1. That is docker-init, which exits with its child; then the restart policy
# applies. Failures count once liveness has succeeded, or its startup time is over. Times use the machine's uptime,
# which clock corrections don't change. Each command has its own `timeout` (coreutils, or BusyBox from 1.30): a hung
# command must not stop the count, and an engine before 23 doesn't kill a check after its timeout. A command that the
# image lacks or can't execute (exit codes 127 and 126) isn't a failure of the process: it is reported once in the
# container's log, and not counted.
PROBES_SCRIPT = """
readiness=$1 readiness_s=$2 liveness=$3 liveness_s=$4 allowed=$5 startup_s=$6 wait_s=$7
failures=/dev/shm/liveness-failures first_check=/dev/shm/liveness-first-check
reported=/dev/shm/liveness-not-executed healthy=/dev/shm/healthy

restart() {
    echo "not alive $1: killed for a restart" > /proc/1/fd/2
    kill -KILL -1
}

if [ -e "$healthy" ]; then sleep "$wait_s"; fi
rm -f "$healthy"

read -r uptime idle < /proc/uptime
now=${uptime%.*}
[ -e "$first_check" ] || echo "$now" > "$first_check"

timeout -s KILL "$readiness_s" sh -c "$readiness"
ready=$?

timeout -s KILL "$liveness_s" sh -c "$liveness"
alive=$?

if [ "$alive" -eq 0 ]; then
    echo 0 > "$failures"
elif [ "$alive" -eq 126 ] || [ "$alive" -eq 127 ]; then
    problem="the liveness check can't be executed (exit code $alive): no restart"
    echo "$problem"
    [ -e "$reported" ] || echo "$problem" > /proc/1/fd/2
    : > "$reported"
elif [ -e "$failures" ]; then
    count=$(($(cat "$failures") + 1))
    echo "$count" > "$failures"
    if [ "$count" -ge "$allowed" ]; then restart "at $count checks in a row"; fi
elif [ $((now - $(cat "$first_check"))) -ge "$startup_s" ]; then
    restart "$startup_s s after its start"
fi

case "$ready $alive" in
"0 0" | "0 126" | "0 127") : > "$healthy" ;;
esac
exit "$ready"
"""

# Some images have neither wget nor curl (Kong's), but those have bash.
HTTP_GET_SCRIPT = (
    'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "GET %s HTTP/1.0\\r\\n\\r\\n" "$2" >&3 && '
    'read -r status <&3 && [[ $status == *" "[23]??* ]]'
)


# Some images have no bash, and an nc without the option -z.
LISTENING_SCRIPT = "grep -q ':{:04X} 0*:0000 0A ' /proc/net/tcp /proc/net/tcp6 2> /dev/null"


def health_check(workload: Workload) -> docker.ContainerHealthcheckArgs | None:
    """Return the health check. Healthy means ready, or for a task succeeded. None if the workload has no probe.

    With a liveness probe, the check also restarts the process, if liveness fails for `failures` x `period_s` after a
    success, or hasn't succeeded within its `startup_s`. Each run executes both probes. It starts one liveness
    `period_s` after the previous run if both probes succeeded there, otherwise one readiness `period_s` after it; the
    time that the probes take is added.
    """
    if isinstance(workload, Task):
        return docker.ContainerHealthcheckArgs(
            tests=["CMD", "sh", "-c", TASK_CHECK_SCRIPT, "check", str(FINISHED_TASK_CHECK_S)],
            interval=_duration(TASK_PERIOD_S),
            timeout=_duration(FINISHED_TASK_CHECK_S + 10),
            # The container must not count as unhealthy before the startup time is over.
            retries=workload.timeout_s // TASK_PERIOD_S + 1,
        )
    if not isinstance(workload, LongRunning) or workload.readiness is None:
        return None
    probe, liveness = workload.readiness, workload.liveness
    return docker.ContainerHealthcheckArgs(
        tests=_combined_probes(probe, liveness) if liveness else _healthcheck_command(probe.check),
        interval=_duration(probe.period_s),
        # One more second for the shell.
        timeout=_duration(probe.timeout_s + (_wait_s(probe, liveness) + liveness.timeout_s + 1 if liveness else 0)),
        retries=max(probe.failures, probe.startup_s // probe.period_s),
    )


def _combined_probes(probe: Probe, liveness: Liveness) -> list[str]:
    """Return one command that runs both probes."""
    allowed = math.ceil(liveness.failures * liveness.period_s / probe.period_s)
    limits = (str(allowed), str(liveness.startup_s), str(_wait_s(probe, liveness)))
    probes = (
        _shell_command(probe.check),
        str(probe.timeout_s),
        _shell_command(liveness.check),
        str(liveness.timeout_s),
    )
    return ["CMD", "sh", "-c", PROBES_SCRIPT, "watch", *probes, *limits]


def _duration(seconds: int) -> str:
    """Return a duration as the engine reports it: the provider compares the texts in a refresh."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _wait_s(probe: Probe, liveness: Liveness) -> int:
    """Return the seconds that a run waits if both probes succeeded in the previous one."""
    return max(0, liveness.period_s - probe.period_s)


def _healthcheck_command(check: Check) -> list[str]:
    """Return a probe as Docker's health check command."""
    return ["CMD", *check.command] if isinstance(check, Exec) else ["CMD-SHELL", _shell_command(check)]


def _shell_command(check: Check) -> str:
    """Return a probe as a line of shell, which uses whichever tool the image has."""
    if isinstance(check, Exec):
        return shlex.join(check.command)
    if isinstance(check, HttpGet):
        url = shlex.quote(f"http://127.0.0.1:{check.port}{check.path}")
        by_bash = f"bash -c {shlex.quote(HTTP_GET_SCRIPT)} ask {check.port} {shlex.quote(check.path)}"
        return (
            f"if command -v wget > /dev/null; then wget -q -O /dev/null {url}; "
            f"elif command -v curl > /dev/null; then curl -fsS -o /dev/null {url}; else {by_bash}; fi"
        )
    connect = f"bash -c '</dev/tcp/127.0.0.1/{check.port}' || nc -z 127.0.0.1 {check.port}"
    return f"{connect} || {LISTENING_SCRIPT.format(check.port)}"

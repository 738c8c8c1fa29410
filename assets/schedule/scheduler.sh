#!/bin/sh
# Runs a task by a cron expression in UTC, for an engine without a scheduler.
#
#   scheduler.sh serve             run the task whenever it is due, until SIGTERM
#   scheduler.sh run [COMMAND ...] run the task, or another command, now; the exit status is the command's
#   scheduler.sh cancel            end the run that `run` has started
#   scheduler.sh check             succeed if `serve` is running
#   scheduler.sh status            print the last result, and whether a run is in progress
#
# `task.sh` next to this file sets:
#   schedule           cron expression of five fields: `*`, numbers, ranges, lists, steps
#   start_deadline_s   seconds after its scheduled time within which a run may still start
#   timeout_s          maximum run time
#   stop_grace_s       seconds between SIGTERM and SIGKILL
#   state_dir          directory that outlives the container
#   with_task          function that calls its arguments with the task's command appended
#
# Runs never overlap: each holds the lock $state_dir/lock, which its processes inherit. $state_dir/state has the
# scheduled time of the last run, or the time of the first start. It is written before a run starts, so that a run never
# starts twice, even if the machine fails meanwhile. A run that a failure has interrupted is reported, not repeated.
#
# The newest scheduled time after the recorded one is due. So one run replaces several missed ones, and a clock that is
# set forward or a machine that was suspended leaves one missed run. If the clock is set back by more than
# clock_tolerance_s, the recorded time counts as wrong, and the scheduled times that follow are due again.
set -euf

poll_s=30
clock_tolerance_s=3600

. "$(dirname "$0")/task.sh"

# Time of the stop grace in which the scheduler reports the end of a run, before the engine kills everything.
report_s=2
# Maximum number of seconds between two polls that count as run time: a suspended machine must not use up the limit.
longest_poll_s=5

stopping=false
nap=
kind=
also_log_to=

fail() {
    printf 'schedule: %s\n' "$1" >&2
    exit 1
}

# A run on request reports to its caller and to the log of the scheduler, which is another process. Its standard output
# contains the command's only, because a program may read it.
log() {
    if [ "$kind" = requested ]; then
        printf 'schedule: %s\n' "$1" >&2
    else
        printf 'schedule: %s\n' "$1"
    fi
    if [ -n "$also_log_to" ]; then { printf 'schedule: %s\n' "$1" >>"$also_log_to"; } 2>/dev/null || :; fi
}

on_stop() {
    stopping=true
    [ -z "$nap" ] || kill "$nap" 2>/dev/null || :
}

# Sleep until the time is over or SIGTERM arrives. The signal may arrive before `wait`: then `on_stop` has ended the
# sleep, or has set `stopping` first.
pause() {
    if $stopping; then
        sleep "$1" 9>&-
        return
    fi
    sleep "$1" 9>&- &
    nap=$!
    $stopping || wait "$nap" || :
    kill "$nap" 2>/dev/null || :
    nap=
}

# Seconds since the machine's start, which clock corrections don't change.
read_uptime() {
    read -r uptime _ </proc/uptime
    uptime=${uptime%.*}
}

read_clock() {
    now=$(date +%s)
}

# Set the UTC date of a time in seconds since 1970
# (https://howardhinnant.github.io/date_algorithms.html#civil_from_days).
read_date() {
    days=$(($1 / 86400 + 719468))
    weekday=$(((days + 3) % 7))
    era=$((days / 146097))
    day_of_era=$((days - era * 146097))
    year_of_era=$(((day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365))
    day_of_year=$((day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100)))
    shifted=$(((5 * day_of_year + 2) / 153))
    day=$((day_of_year - (153 * shifted + 2) / 5 + 1))
    month=$((shifted < 10 ? shifted + 3 : shifted - 9))
    year=$((year_of_era + era * 400 + (month <= 2)))
}

timestamp() {
    read_date "$1"
    printf '%04d-%02d-%02dT%02d:%02d:%02dZ' \
        "$year" "$month" "$day" $(($1 % 86400 / 3600)) $(($1 % 3600 / 60)) $(($1 % 60))
}

# Leading zeros would make an octal number.
decimal() {
    stripped=${1#"${1%%[!0]*}"}
    printf '%s' "${stripped:-0}"
}

# Print the numbers that a field selects, each between blanks. `*` comes first if the field doesn't restrict the days.
numbers() {
    rest=$1,
    every=
    selected=' '
    while [ -n "$rest" ]; do
        part=${rest%%,*}
        rest=${rest#*,}
        range=${part%%/*}
        step=1
        [ "$part" = "$range" ] || step=$(decimal "${part#*/}")
        case $range in
            '*')
                first=$2
                last=$3
                [ "$step" -gt 1 ] || every='*'
                ;;
            *-*)
                first=$(decimal "${range%-*}")
                last=$(decimal "${range#*-}")
                ;;
            *)
                first=$(decimal "$range")
                last=$first
                [ "$part" = "$range" ] || last=$3
                ;;
        esac
        while [ "$first" -le "$last" ]; do
            selected="$selected$first "
            first=$((first + step))
        done
    done
    printf '%s' "$every$selected"
}

read_schedule() {
    # shellcheck disable=SC2086 # five words, and no file names (set -f)
    set -- $schedule
    minutes=$(numbers "$1" 0 59)
    hours=$(numbers "$2" 0 23)
    month_days=$(numbers "$3" 1 31)
    months=$(numbers "$4" 1 12)
    weekdays=$(numbers "$5" 0 6)
}

selects() {
    case $1 in *" $2 "*) ;; *) return 1 ;; esac
}

# As in Kubernetes (robfig/cron): if both fields restrict the days, one of them is enough.
day_matches() {
    read_date "$1"
    selects "$months" "$month" || return 1
    case "$month_days$weekdays" in
        *'*'*) selects "$month_days" "$day" && selects "$weekdays" "$weekday" ;;
        *) selects "$month_days" "$day" || selects "$weekdays" "$weekday" ;;
    esac
}

# Set `due` to the newest scheduled time after $1, at $2 or before; empty if there is none.
find_due() {
    due=
    at=$(($2 - $2 % 60))
    while [ "$at" -gt "$1" ]; do
        if ! day_matches "$at"; then
            at=$((at - at % 86400 - 60))
        elif ! selects "$hours" $((at % 86400 / 3600)); then
            at=$((at - at % 3600 - 60))
        elif ! selects "$minutes" $((at % 3600 / 60)); then
            at=$((at - 60))
        else
            due=$at
            return
        fi
    done
}

# Replace a file in one step, so that a failure leaves the old or the new content.
write() {
    printf '%s\n' "$2" >"$state_dir/$1.new"
    mv "$state_dir/$1.new" "$state_dir/$1"
}

# The times of another expression say nothing about this one.
read_state() {
    recorded=
    recorded_schedule=
    if [ -e "$state_dir/state" ]; then read -r recorded recorded_schedule <"$state_dir/state" || :; fi
    case $recorded in '' | *[!0-9]*) recorded=none ;; esac
    if [ "$recorded" = none ] || [ "$recorded_schedule" != "$schedule" ]; then
        read_clock
        record "$now"
    fi
}

record() {
    recorded=$1
    write state "$recorded $schedule"
}

# Take the lock until `release`. A record of a run without the lock is one that a failure has interrupted.
acquire() {
    exec 9>"$state_dir/lock"
    if ! flock -n 9; then
        exec 9>&-
        return 1
    fi
    if [ -e "$state_dir/running" ]; then
        read -r _ _ interrupted <"$state_dir/running" || interrupted="a run"
        report "$interrupted was interrupted: the container or the machine failed or was stopped"
        rm -f "$state_dir/running"
    fi
}

release() {
    exec 9>&-
}

report() {
    write last "$1"
    log "$1"
}

is_alive() {
    kill -0 "$1" 2>/dev/null
}

# Signal the processes of the run, which are a process group of their own.
signal() {
    kill "-$1" "-$run" 2>/dev/null
}

# Run a command with the lock, which is then released. Set `status` to its exit status.
#   $1  name of the run
#   $2  maximum run time; 0: no limit
execute() {
    label=$1
    limit_s=$2
    shift 2
    read_clock
    begin=$(timestamp "$now")
    write running "$$ $kind $label"
    [ $kind = requested ] || record "$due"
    log "$label begins at $begin"
    read_uptime
    began=$uptime
    polled=$uptime
    elapsed=0
    ended_by=
    kill_at=
    setsid "$@" &
    run=$!
    while is_alive "$run"; do
        if [ -z "$ended_by" ]; then
            if $stopping; then
                ended_by=", stopped on request"
                kill_at=$((elapsed + stop_grace_s - report_s))
            elif [ "$limit_s" -gt 0 ] && [ $elapsed -ge "$limit_s" ]; then
                ended_by=", stopped at its limit of $limit_s s"
                kill_at=$((elapsed + stop_grace_s))
            fi
            # The command may not have its process group yet.
            if [ -n "$ended_by" ]; then signal TERM || ended_by=; fi
        elif [ $elapsed -ge $kill_at ]; then
            signal KILL || :
        fi
        pause 1
        read_uptime
        step_s=$((uptime - polled))
        [ $step_s -le $longest_poll_s ] || step_s=$longest_poll_s
        elapsed=$((elapsed + step_s))
        polled=$uptime
    done
    status=0
    wait "$run" || status=$?
    # Background processes that the command has left behind.
    signal KILL || :
    read_clock
    result=succeeded
    if [ $status -ne 0 ] || [ -n "$ended_by" ]; then result=failed; fi
    report "$label $result: begin $begin, end $(timestamp "$now"), $((uptime - began)) s, exit status $status$ended_by"
    rm -f "$state_dir/running"
    release
}

serve() {
    kind=scheduled
    for tool in flock setsid; do
        command -v "$tool" >/dev/null || fail "the image has no $tool"
    done
    { mkdir -p "$state_dir" && rm -f "$state_dir/scheduler" && : >>"$state_dir/lock"; } 2>/dev/null ||
        fail "user $(id -u) can't write to $state_dir"
    trap on_stop TERM INT
    read_schedule
    read_state
    if acquire; then release; fi
    write scheduler $$
    log "waiting for '$schedule' in UTC"
    missed=
    waited=
    while ! $stopping; do
        read_clock
        if [ $((recorded - now)) -gt $clock_tolerance_s ]; then
            log "the clock was set back from $(timestamp "$recorded") or later to $(timestamp "$now")"
            record "$now"
        fi
        find_due "$recorded" "$now"
        if [ -z "$due" ]; then
            :
        elif [ $((now - due)) -gt "$start_deadline_s" ]; then
            [ "$due" = "$missed" ] || log "run of $(timestamp "$due") is missed: it couldn't start in $start_deadline_s s"
            missed=$due
        elif acquire; then
            with_task execute "run of $(timestamp "$due")" "$timeout_s"
            continue
        else
            [ "$due" = "$waited" ] || log "run of $(timestamp "$due") waits for the run in progress"
            waited=$due
        fi
        # The signal may have arrived since the loop began.
        $stopping || pause $((poll_s - now % poll_s))
    done
    stop_requested
    rm -f "$state_dir/scheduler"
    log "stopped"
}

# End a run on request, because the container stops.
stop_requested() {
    cancel
    read_uptime
    deadline=$((uptime + stop_grace_s - report_s))
    until acquire || [ "$uptime" -ge "$deadline" ]; do
        sleep 1
        read_uptime
    done
}

request() {
    kind=requested
    if ! acquire; then
        read_running || running="another run"
        fail "$running is in progress. Start again once it has ended."
    fi
    trap on_stop TERM INT
    if scheduler_pid; then also_log_to=/proc/$scheduler/fd/1; fi
    read_clock
    name="requested run of $(timestamp "$now")"
    # Another command, such as a restore, may take longer than the task. Its caller can end it.
    if [ $# -gt 0 ]; then
        execute "$name" 0 "$@"
    else
        with_task execute "$name" "$timeout_s"
    fi
    # A command that is stopped may report success.
    if [ $status -eq 0 ] && [ $result = failed ]; then status=143; fi
    exit $status
}

cancel() {
    if read_running && [ "$running_kind" = requested ]; then kill "$running_pid" 2>/dev/null || :; fi
}

# Read who runs, if its process is alive.
read_running() {
    { read -r running_pid running_kind running <"$state_dir/running"; } 2>/dev/null && is_alive "$running_pid"
}

scheduler_pid() {
    { read -r scheduler <"$state_dir/scheduler"; } 2>/dev/null && is_alive "$scheduler"
}

status() {
    { read -r last <"$state_dir/last"; } 2>/dev/null || last="no run yet"
    if read_running; then last="$running is in progress; before: $last"; fi
    printf '%s\n' "$last"
}

mode=$1
shift
case $mode in
    serve) serve ;;
    run) request "$@" ;;
    cancel) cancel ;;
    check) scheduler_pid ;;
    status) status ;;
    *) fail "unknown mode: $mode" ;;
esac

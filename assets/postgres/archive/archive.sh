#!/bin/sh
# The process of the workload `archive`: receives WAL all the time (receive.sh), and takes base backups by a schedule
# (scheduler.sh, which base.sh is the task of).
#
#   sh /assets/archive.sh
set -eu

here=$(dirname "$0")
status_file=${ARCHIVE_STATUS_FILE:-/tmp/archive.status}
scheduler="" receiver="" errors=$(mktemp)

stop() {
    trap '' TERM INT
    for process in $scheduler $receiver; do kill "$process" 2>/dev/null || :; done
    wait
    exit 143
}

trap 'rm -f "$errors"' EXIT
trap stop TERM INT
sh "$here/scheduler.sh" serve &
scheduler=$!
pause_s=1
while kill -0 "$scheduler" 2>/dev/null; do
    sh "$here/receive.sh" 2>"$errors" &
    receiver=$!
    read -r began _ </proc/uptime
    wait "$receiver" || :
    receiver=""
    cat "$errors" >&2
    # The line after the step is the reason.
    sed -n 2p "$errors" >"$status_file.new"
    mv "$status_file.new" "$status_file"
    read -r ended _ </proc/uptime
    # A receiver that worked for a while is started again at once.
    if [ $((${ended%.*} - ${began%.*})) -gt 60 ]; then pause_s=1; elif [ $pause_s -lt 30 ]; then pause_s=$((pause_s * 2)); fi
    sleep $pause_s &
    wait $! || :
done
kill "$receiver" 2>/dev/null || :
printf 'archive: the scheduler has ended\n' >&2
exit 1

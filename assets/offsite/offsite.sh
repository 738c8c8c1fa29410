#!/bin/sh
# Copies the backups in BACKUP_DIR into an encrypted repository elsewhere, with restic, and brings them back.
#
#   offsite.sh copy            copy every complete backup that isn't in the repository, delete old copies, check
#   offsite.sh list [--json]   list the copies, the oldest first
#   offsite.sh fetch NAME      put the copy of a backup into BACKUP_DIR, verified by its manifest
#
# Environment
#   RESTIC_REPOSITORY, RESTIC_PASSWORD_FILE   the repository, and the file with its password
#   AWS_SHARED_CREDENTIALS_FILE               for s3: the file with the access key
#   OFFSITE_SSH_DIR        for sftp: a directory with the private key `key`, and `known_hosts`
#   BACKUP_DIR             the directory of the backups (assets/postgres/backup/common.sh describes them)
#   OFFSITE_ERASED_FILE    the list of erased tenants (assets/postgres/tenants.sh), which is copied as well: a restore on a
#                          new server needs it. `fetch` adds the copied lines to the file
#   OFFSITE_STACK          name of the stack, which each copy records: only its copies are deleted
#   OFFSITE_KEEP           options of `restic forget`; empty: delete nothing, because the credentials may only add
#   OFFSITE_CHECK_PARTS    each run reads one of so many parts of the repository's data
#   OFFSITE_METRICS_URL    where the result of a run is sent (OTLP); empty: nowhere
#
# Each backup is one snapshot with the tags `pti-backup` and the backup's name. It is complete if it has as many files and
# bytes as the backup: a run that couldn't read a file leaves a snapshot without it.
#
# Exit status: 0; 1 if anything failed, with the reason on standard error.
set -eu
LC_ALL=C
export LC_ALL
umask 077

not_writable="Set backups.offsite.allowFetch to true, and update the stack (docs/offsite.md#bring-a-copy-back)"
usage="sh offsite.sh copy | list [--json] | fetch NAME"
directory=${BACKUP_DIR:-/var/lib/backups}
erased_file=${OFFSITE_ERASED_FILE:-/nonexistent}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/offsite.XXXXXX")
# Seconds that a run waits for the lock of another one. restic counts a lock as stale after 30 minutes.
lock_wait_s=${OFFSITE_LOCK_WAIT_S:-2100}
failed=false
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

report_problem() {
    printf 'offsite failed at: %s\n%s\n' "$step" "$1" >&2
}

fail() {
    report_problem "$1"
    exit 1
}

now() { date +%s; }

# run_restic ARGUMENT …: standard output is collected in $scratch/out, errors in $scratch/err. No cache, because the root
# file system is read-only, and a cache in memory would grow with the repository.
run_restic() {
    code=0
    if [ -n "${OFFSITE_SSH_DIR:-}" ]; then
        set -- -o "sftp.args=-i $OFFSITE_SSH_DIR/key -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=60 -o StrictHostKeyChecking=yes -o UserKnownHostsFile=$OFFSITE_SSH_DIR/known_hosts" "$@"
    fi
    restic --no-cache --quiet "$@" >"$scratch/out" 2>"$scratch/err" &
    restic_pid=$!
    # The shell runs its traps between two waits, and restic removes its lock on SIGTERM.
    trap 'kill "$restic_pid" 2>/dev/null; wait "$restic_pid" || :; exit 143' TERM
    trap 'kill "$restic_pid" 2>/dev/null; wait "$restic_pid" || :; exit 130' INT
    wait "$restic_pid" || code=$?
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

problem() {
    case $code in
        10) printf 'the repository %s does not exist, or is empty' "$RESTIC_REPOSITORY" ;;
        11) printf 'another process has locked the repository: try again when it has ended' ;;
        12) printf 'the repository %s has another password (secret offsitePassword)' "$RESTIC_REPOSITORY" ;;
        *) printf 'restic ended with %s: %s' "$code" "$(tail -n 8 "$scratch/err")" ;;
    esac
}

require_restic() {
    run_restic "$@"
    [ "$code" = 0 ] || fail "$(problem)"
}

# restic --retry-lock would wait for a lock of a killed run, but not remove it. `unlock` only removes locks that are stale.
restic_with_lock() {
    until_s=$(($(now) + lock_wait_s))
    while :; do
        run_restic "$@"
        [ "$code" = 11 ] && [ "$(now)" -lt "$until_s" ] || return 0
        sleep "${OFFSITE_LOCK_POLL_S:-60}" &
        wait $! || :
        run_restic unlock
    done
}

check_settings() {
    step=settings
    [ -s "$RESTIC_PASSWORD_FILE" ] || fail "$RESTIC_PASSWORD_FILE can't be read, or is empty: it has the repository's password"
    # ssh refuses a user without an entry ("No user exists for uid 999"). The official image has none for this one, so
    # /etc is a directory in memory.
    if [ -n "${OFFSITE_SSH_DIR:-}" ] && ! id -un >/dev/null 2>&1; then
        printf 'offsite:x:%s:%s::/tmp:/sbin/nologin\n' "$(id -u)" "$(id -g)" >/etc/passwd
    fi
}

# restic itself refuses to initialise a repository that has keys or snapshots, so one whose file `config` is missing is
# never initialised again. Any error other than "it doesn't exist" ends the run here.
open_repository() {
    step="repository $RESTIC_REPOSITORY"
    run_restic cat config --no-lock
    if [ "$code" = 10 ] && [ "${1:-}" = initialise ]; then
        step="initialisation of the repository $RESTIC_REPOSITORY"
        require_restic init
        printf 'offsite: the repository was empty and is initialised. Keep its password elsewhere: without it, no copy can be read\n'
    elif [ "$code" != 0 ]; then
        fail "$(problem)"
    fi
}

is_backup_name() {
    case $1 in
        [0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]T[0-9][0-9][0-9][0-9][0-9][0-9]Z) ;;
        *) return 1 ;;
    esac
}

backup_names() {
    for path in "$directory"/*Z; do
        if [ -d "$path" ] && is_backup_name "${path##*/}"; then printf '%s\n' "${path##*/}"; fi
    done
}

# Set `damage` to what is wrong with the backup in a directory, or to nothing.
check_backup() {
    damage=""
    if ! [ -f "$1/manifest.json" ] || ! (cd "$1" && sha256sum -c manifest.json.sha256) >/dev/null 2>&1; then
        damage="its manifest is missing or damaged"
        return 0
    fi
    sed -n 's/.*"file": "\([^"/]*\)".* "sha256": "\([0-9a-f]*\)".*/\2  \1/p' "$1/manifest.json" >"$scratch/sums"
    if ! [ -s "$scratch/sums" ]; then
        damage="its manifest names no file"
    elif ! (cd "$1" && sha256sum -c "$scratch/sums") >"$scratch/sums.out" 2>&1; then
        damage="not as in its manifest: $(grep -v ': OK$' "$scratch/sums.out" | head -n 3)"
    fi
}

# The files and bytes of a directory.
size_of() {
    files=0 bytes=0
    for path in "$1"/*; do
        files=$((files + 1))
        bytes=$((bytes + $(wc -c <"$path")))
    done
}

# Collect the complete table of copies in $scratch/copies: name, files, bytes, snapshot, stack.
read_copies() {
    step="list of the copies"
    require_restic snapshots --no-lock --tag pti-backup --json
    jq -r '.[] | [(.tags[] | select(. != "pti-backup")), .summary.total_files_processed, .summary.total_bytes_processed, .id, .hostname]
        | @tsv' "$scratch/out" | sort >"$scratch/copies" || fail "restic's list of snapshots can't be read"
}

copy() {
    trap '[ $? = 0 ] || send_result 1; rm -rf "$scratch"' EXIT
    send_url=${OFFSITE_METRICS_URL:-}
    check_settings
    step="directory $directory"
    [ -d "$directory" ] && [ -r "$directory" ] || fail "BACKUP_DIR is not a readable directory: is its volume mounted?"
    open_repository initialise
    step="stale locks"
    require_restic unlock
    read_copies
    mv "$scratch/copies" "$scratch/known"
    newest=""
    for name in $(backup_names); do copy_backup "$name"; done
    [ -n "$newest" ] || $failed || {
        step="directory $directory"
        problem_found "it has no complete backup"
    }
    copy_erased_list
    delete_old_copies
    check_repository
    if $failed; then exit 1; fi
    printf 'offsite: every complete backup is in the repository; the newest is %s\n' "$newest"
    send_result 0
}

problem_found() {
    report_problem "$1"
    failed=true
}

copy_backup() {
    step="copy of $1"
    size_of "$directory/$1"
    complete=$(awk -v name="$1" -v files="$files" -v bytes="$bytes" \
        '$1 == name && $2 == files && $3 == bytes { print $4 }' "$scratch/known")
    if [ -n "$complete" ]; then
        newest=$1
        return 0
    fi
    check_backup "$directory/$1"
    if [ -n "$damage" ]; then
        if [ -d "$directory/$1" ]; then problem_found "the backup is damaged: $damage"; fi
        return 0
    fi
    time=$(printf '%s' "$1" | sed 's/\(....\)\(..\)\(..\)T\(..\)\(..\)\(..\)Z/\1-\2-\3 \4:\5:\6/')
    cd "$directory"
    restic_with_lock backup --tag "pti-backup,$1" --host "$OFFSITE_STACK" --time "$time" --group-by host "$1"
    cd /
    if [ "$code" != 0 ]; then
        problem_found "$(problem)"
        return 0
    fi
    newest=$1
    printf 'offsite: backup %s copied, %s bytes\n' "$1" "$bytes"
}

# The newest copy contains every line of the earlier ones: on a new machine, the list begins empty, and old copies are deleted.
copy_erased_list() {
    step="copy of the list of erased tenants"
    read_erased_list
    [ -s "$scratch/erased-list" ] || return 0
    mkdir -p "$scratch/list"
    cp "$scratch/erased-list" "$scratch/list/${erased_file##*/}"
    cd "$scratch/list"
    restic_with_lock backup --tag pti-erased --host "$OFFSITE_STACK" --group-by host "${erased_file##*/}"
    cd /
    [ "$code" = 0 ] || problem_found "$(problem)"
}

# Collect the lines of the list and of its newest copy in $scratch/erased-list.
read_erased_list() {
    : >"$scratch/erased-list"
    require_restic snapshots --no-lock --tag pti-erased --json
    if [ "$(jq length "$scratch/out")" != 0 ]; then
        require_restic dump --no-lock --tag pti-erased latest "/${erased_file##*/}"
        cat "$scratch/out" >>"$scratch/erased-list"
    fi
    if [ -e "$erased_file" ]; then cat "$erased_file" >>"$scratch/erased-list"; fi
    sort -u -o "$scratch/erased-list" "$scratch/erased-list"
}

# Add the lines of the copied list to the list: a restore erases these tenants again.
fetch_erased_list() {
    step="list of erased tenants"
    read_erased_list
    [ -s "$scratch/erased-list" ] || return 0
    cp "$scratch/erased-list" "$erased_file.new"
    mv "$erased_file.new" "$erased_file"
}

delete_old_copies() {
    [ -n "${OFFSITE_KEEP:-}" ] || return 0
    # Copies of a failed run must not push out others.
    if $failed; then return 0; fi
    step="deletion of old copies"
    # shellcheck disable=SC2086 # a list of options
    restic_with_lock forget --tag pti-backup --host "$OFFSITE_STACK" --group-by host --prune $OFFSITE_KEEP
    [ "$code" = 0 ] || problem_found "$(problem)"
    restic_with_lock forget --tag pti-erased --host "$OFFSITE_STACK" --group-by host --keep-last 3
    [ "$code" = 0 ] || problem_found "$(problem)"
}

check_repository() {
    part=$(($(now) / 86400 % OFFSITE_CHECK_PARTS + 1))
    step="check of the repository"
    restic_with_lock check --read-data-subset="$part/$OFFSITE_CHECK_PARTS"
    [ "$code" = 0 ] || problem_found "$(problem)"
}

# send_result FAILED: send the result of the run, and the time of the newest backup that is copied.
send_result() {
    [ -n "$send_url" ] || return 0
    at=$(now)
    points=$(gauge pti_offsite_run_failed "$1" "$at")
    if [ "$1" = 0 ]; then
        copied=$(date -u -d "$(printf '%s' "$newest" | sed 's/\(....\)\(..\)\(..\)T\(..\)\(..\)\(..\)Z/\1-\2-\3 \4:\5:\6/')" +%s)
        points="$points, $(gauge pti_offsite_newest_copy_timestamp_seconds "$copied" "$at")"
    fi
    printf '{"resourceMetrics": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "offsite"}}]},
        "scopeMetrics": [{"metrics": [%s]}]}]}' "$points" >"$scratch/result"
    # A lost result is no failure of the copy: without results, an alert fires.
    wget -q -O /dev/null -T 10 --header 'Content-Type: application/json' --post-file "$scratch/result" "$send_url" ||
        printf 'offsite: the result could not be sent to %s\n' "$send_url" >&2
}

gauge() {
    printf '{"name": "%s", "gauge": {"dataPoints": [{"timeUnixNano": "%s000000000", "asDouble": %s}]}}' "$1" "$3" "$2"
}

list() {
    open_repository
    read_copies
    if [ "${1:-}" = --json ]; then
        jq -Rn '[inputs | split("\t") | {name: .[0], files: (.[1] | tonumber), bytes: (.[2] | tonumber), snapshot: .[3], stack: .[4]}]' \
            <"$scratch/copies"
    else
        awk -F '\t' '{ printf "%s  %s bytes  stack %s  snapshot %s\n", $1, $3, $5, substr($4, 1, 8) }' "$scratch/copies"
    fi
}

fetch() {
    step=arguments
    is_backup_name "$1" || fail "\"$1\" is not the name of a backup: offsite.sh list prints the names"
    step="directory $directory"
    [ -d "$directory" ] || mkdir "$directory" 2>/dev/null || fail "it can't be created. $not_writable"
    [ -w "$directory" ] || fail "it can't be written. $not_writable"
    exec 9<"$directory"
    flock -n 9 || fail "a backup or a restore is running: try again when it has ended"
    [ ! -e "$directory/$1" ] || fail "$1 exists already"
    open_repository
    read_copies
    # Of several, the one with the most bytes: the others are incomplete.
    snapshot=$(awk -F '\t' -v name="$1" '$1 == name { print $3, $4 }' "$scratch/copies" | sort -n | tail -n 1)
    step="fetch of $1"
    [ -n "$snapshot" ] || fail "the repository has no copy of it: offsite.sh list prints the names"
    new=$directory/incomplete.$1
    rm -rf "$new"
    trap 'rm -rf "$scratch" "$new"' EXIT
    mkdir "$new"
    run_restic restore --no-lock "${snapshot#* }:/$1" --target "$new"
    [ "$code" = 0 ] || fail "$(problem)"
    check_backup "$new"
    [ -z "$damage" ] || fail "the copy is damaged: $damage"
    fetch_erased_list
    sync
    mv "$new" "$directory/$1"
    size_of "$directory/$1"
    printf 'offsite: backup %s is back, %s bytes, as in its manifest\n' "$1" "$bytes"
}

case ${1:-} in
    copy) copy ;;
    list)
        check_settings
        list "${2:-}"
        ;;
    fetch)
        step=arguments
        [ $# -eq 2 ] || fail "usage: $usage"
        check_settings
        fetch "$2"
        ;;
    *)
        step=arguments
        fail "usage: $usage"
        ;;
esac

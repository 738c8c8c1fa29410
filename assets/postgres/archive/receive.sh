#!/bin/sh
# Receives the server's WAL until the connection ends. archive.sh runs it again.
#
#   sh /assets/receive.sh
#
# The replication slot keeps the WAL on the server that this script hasn't written to the disk yet, up to the server's
# max_slot_wal_keep_size. If the slot is lost, or the server isn't the one that the chain was received from, the chain is
# broken: a new one begins, with a base backup at once. The old one stays, with what can be recovered from it.
#
# chains.sh describes the environment and the files.
#
# Exit status: 1, with the reason on standard error; 143 on SIGTERM.
operation=archive
here=$(dirname "$0")
. "$here/common.sh"
. "$here/chains.sh"
. "$here/scratch.sh"

heartbeat_s=${ARCHIVE_HEARTBEAT_S:-30}
base_retry_s=600
receiver=""

stop_receiver() {
    rm -f "$status_file"
    if [ -n "$receiver" ]; then
        kill "$receiver" 2>/dev/null || :
        wait "$receiver" 2>/dev/null || :
    fi
    rm -rf "$scratch"
}

read_server() {
    step="connect to ${PGHOST:-the local socket} as pti_archive"
    log_in_as_archive
    run_psql <<'SQL'
SELECT 'system=' || system_identifier FROM pg_control_system();
SELECT 'segment_bytes=' || setting FROM pg_settings WHERE name = 'wal_segment_size';
SELECT 'current_file=' || pg_walfile_name(pg_current_wal_flush_lsn());
SELECT 'slot_status=' || coalesce(wal_status, 'unreserved') FROM pg_replication_slots WHERE slot_name = 'pti_archive';
SELECT 'slot_file=' || pg_walfile_name(restart_lsn) FROM pg_replication_slots WHERE slot_name = 'pti_archive';
SQL
    system="" segment_bytes="" current_file="" slot_status=none slot_file=""
    while IFS='=' read -r key value; do
        case $key in
            system) system=$value ;;
            segment_bytes) segment_bytes=$value ;;
            current_file) current_file=$value ;;
            slot_status) slot_status=$value ;;
            slot_file) slot_file=$value ;;
        esac
    done <"$scratch/out"
}

# Why the received WAL doesn't continue on this server; empty if it does.
find_break() {
    chain=$(newest_chain)
    broken=""
    [ -n "$chain" ] || return 0
    newest=$(ls "$archive/$chain/wal" | sed -n 's/^\(.\{24\}\)\(\.partial\)\{0,1\}$/\1/p' | sort | tail -n 1)
    if [ "$(cat "$archive/$chain/system")" != "$system" ]; then
        broken="the server is another one: its system identifier is $system"
    elif [ "$slot_status" = none ]; then
        broken="the replication slot $slot doesn't exist"
    elif [ "$slot_status" = lost ]; then
        broken="the replication slot $slot is lost: this volume or the receiver was unavailable for too long (backups.pointInTime.maxWalGib)"
    elif [ -n "$newest" ] && [ -n "$slot_file" ] && is_later "$slot_file" "$newest" 1; then
        broken="the replication slot $slot no longer keeps the WAL after $newest"
    elif [ -n "$newest" ] && is_later "$newest" "$current_file" 0; then
        broken="the server was set back: it writes $current_file, and $newest was received"
    fi
}

# Whether a segment is more than some segments later than another one, on any timeline. is_later FILE OTHER SEGMENTS
is_later() {
    [ $(($(segment_number "$1") - $(segment_number "$2"))) -gt "$3" ]
}

segment_number() {
    low=${1#????????????????}
    high=${1#????????}
    printf '%d' $((0x${high%????????} * (0x100000000 / segment_bytes) + 0x$low))
}

begin_chain() {
    step="begin of a chain"
    if [ -n "$broken" ]; then
        printf 'archive: the chain %s is broken: %s\n' "$chain" "$broken"
        printf '%s\n' "$broken" >"$archive/$chain/broken"
    fi
    if [ "$slot_status" != none ]; then run_psql --command "SELECT pg_drop_replication_slot('$slot')"; fi
    # The second argument reserves WAL at once: otherwise the server could delete the first segments before they are read.
    run_psql --command "SELECT pg_create_physical_replication_slot('$slot', true)"
    name=$(date -u +%Y%m%dT%H%M%SZ)
    while [ -e "$archive/$name" ] || ! expr "$name" \> "${chain:-0}" >/dev/null; do
        # Also if the clock was set back, the newest name is that of the newest chain.
        sleep 1
        name=$(date -u +%Y%m%dT%H%M%SZ)
    done
    # A recovery, which may be running, has a name without a time.
    rm -rf "$archive"/incomplete.*Z
    mkdir -p "$archive/incomplete.$name/wal" "$archive/incomplete.$name/base"
    printf '%s\n' "$system" >"$archive/incomplete.$name/system"
    mv "$archive/incomplete.$name" "$archive/$name"
    sync -f "$archive/$name"
    chain=$name
    printf 'archive: the chain %s begins\n' "$chain"
    if [ -n "$broken" ]; then
        run_psql <<'SQL'
INSERT INTO backups.archive (broken_at) VALUES (now()) ON CONFLICT (only_row) DO UPDATE SET broken_at = now();
SQL
    fi
}

# pg_receivewal fills a new segment with zeros before it writes to it. If the volume is full, a shorter file remains, which
# it refuses ever after. It contains no WAL.
remove_short_segments() {
    for path in "$archive/$chain"/wal/*.partial; do
        if [ -e "$path" ] && [ "$(wc -c <"$path")" != "$segment_bytes" ]; then rm "$path"; fi
    done
}

# What is left of a full volume is for the scheduler's state and for the deletion of old base backups.
check_space() {
    step="space in $archive"
    require_space "$archive" $((3 * segment_bytes / 1048576))
}

start_receiver() {
    step="receiver"
    # It ends with this shell, also if that is killed: two receivers would write to the same files.
    prefix=""
    if setpriv --pdeathsig TERM true 2>/dev/null; then prefix="setpriv --pdeathsig TERM"; fi
    PGAPPNAME=$slot $prefix pg_receivewal --directory="$archive/$chain/wal" --slot="$slot" --synchronous --no-loop --no-password \
        --status-interval=10 2>"$scratch/receiver" &
    receiver=$!
}

# The time of a commit is what a recovery can stop at: without one, the WAL of an idle server covers no time.
beat() {
    psql --no-psqlrc --quiet --no-password --tuples-only --no-align --set ON_ERROR_STOP=1 \
        >"$scratch/out" 2>"$scratch/err" <<'SQL' || return 0
INSERT INTO backups.archive (seen_at) VALUES (now()) ON CONFLICT (only_row) DO UPDATE SET seen_at = now();
SELECT active FROM pg_replication_slots WHERE slot_name = 'pti_archive';
SQL
    if [ "$(cat "$scratch/out")" = t ]; then printf 'receiving\n' >"$status_file"; fi
}

# In the background, because a base backup takes long. The scheduler refuses it if one is running.
request_base() {
    if [ -z "$(base_names "$chain")" ] && [ "$uptime" -ge "$base_at" ]; then
        base_at=$((uptime + base_retry_s))
        # The scheduler reports the run itself.
        { sh "$here/scheduler.sh" run 2>&1 | grep -v '^schedule: '; } &
    fi
}

step="directory $archive"
[ -d "$archive" ] || mkdir "$archive" 2>"$scratch/err" || fail "is its volume mounted? $(cat "$scratch/err")"
trap stop_receiver EXIT
read_server
find_break
if [ -z "$chain" ] || [ -n "$broken" ]; then begin_chain; fi
remove_short_segments
check_space
start_receiver
next_beat=0
read -r uptime _ </proc/uptime
# The receiver has begun by then, and the scheduler too.
base_at=$((${uptime%.*} + 2))
while kill -0 "$receiver" 2>/dev/null; do
    read -r uptime _ </proc/uptime
    uptime=${uptime%.*}
    if [ "$uptime" -ge $next_beat ] || ! [ -e "$status_file" ]; then
        next_beat=$((uptime + heartbeat_s))
        beat
    fi
    request_base
    sleep 1 &
    wait $! || :
done
wait "$receiver" || :
receiver=""
fail "$(cat "$scratch/receiver")"

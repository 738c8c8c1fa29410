#!/bin/sh
# Takes a base backup into the newest chain, and deletes old base backups with the WAL that only they need.
#
#   sh /assets/base.sh
#
# The scheduler runs one at a time. A base backup gets its name when pg_verifybackup has read every file and the WAL of
# its duration; only then are older ones deleted. So a run that fails, is killed or fills the volume leaves nothing that
# looks like a base backup, and the next run removes its remains.
#
# Environment, in addition to that of chains.sh
#   ARCHIVE_KEEP_COUNT   default 2: how many of the newest base backups are kept in any case
#   ARCHIVE_KEEP_DAYS    default 7: every time of the last days can be recovered
#
# Exit status: 0 if the base backup is complete; 1 if not, with the reason on standard error; 130 and 143 on signals.
operation="base backup"
here=$(dirname "$0")
. "$here/common.sh"
. "$here/chains.sh"
. "$here/scratch.sh"

keep_count=${ARCHIVE_KEEP_COUNT:-2}
keep_days=${ARCHIVE_KEEP_DAYS:-7}

check_settings() {
    step=settings
    for setting in "ARCHIVE_KEEP_COUNT=$keep_count" "ARCHIVE_KEEP_DAYS=$keep_days"; do
        case ${setting#*=} in '' | *[!0-9]* | 0*) fail "${setting%=*}: \"${setting#*=}\" is not a number, at least 1" ;; esac
    done
}

# The receiver needs the rest of the volume.
check_space() {
    step="space in $archive"
    run_psql --command "SELECT sum(pg_database_size(oid)) / 1048576 + 2 * setting::int / 1048576
        FROM pg_database, pg_settings WHERE name = 'wal_segment_size' GROUP BY setting"
    needed=$(cat "$scratch/out")
    require_space "$archive" "${needed%%.*}"
}

take() {
    step="base backup"
    # With its own WAL, the base backup can be used even if the chain has a hole.
    pg_basebackup --pgdata="$new/data" --format=plain --wal-method=stream --checkpoint=fast --label="$name" \
        --no-password 2>"$scratch/err" || fail "$(cat "$scratch/err")"
    # Recovery stops at a commit. This is one, and the first that is certainly after the base backup.
    run_psql <<'SQL'
INSERT INTO backups.archive (seen_at) VALUES (now()) ON CONFLICT (only_row) DO UPDATE SET seen_at = now();
SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
SELECT split_part(current_setting('server_version'), ' ', 1);
SELECT setting FROM pg_settings WHERE name = 'wal_segment_size';
SQL
    step=verification
    pg_verifybackup --quiet "$new/data" >"$scratch/err" 2>&1 || fail "$(cat "$scratch/err")"
    {
        printf 'from=%s\n' "$(sed -n 1p "$scratch/out")"
        printf 'server=%s\n' "$(sed -n 2p "$scratch/out")"
        printf 'segment_bytes=%s\n' "$(sed -n 3p "$scratch/out")"
        printf 'wal=%s\n' "$(sed -n 's/^START WAL LOCATION: .* (file \(.*\))$/\1/p' "$new/data/backup_label")"
        printf 'bytes=%s\n' "$(($(du -sk "$new/data" | cut -f 1) * 1024))"
    } >"$new/info"
    [ "$chain" = "$(newest_chain)" ] || fail "the chain $chain has ended meanwhile; the next run uses the new one"
}

publish() {
    step="write to the disk"
    sync -f "$new" || fail "the files couldn't be written to the disk"
    mv "$new" "$archive/$chain/base/$name"
    sync -f "$archive" || fail "$name couldn't be written to the disk"
}

record_success() {
    step="record of the success"
    run_psql --set base_at="$(base_value "$chain" "$name" from)" <<'SQL'
INSERT INTO backups.archive (base_at) VALUES (:'base_at') ON CONFLICT (only_row) DO UPDATE SET base_at = excluded.base_at;
SQL
}

# A base backup is needed as long as it is the newest one that is older than keep_days: later times until its successor
# are recovered from it.
delete_old() {
    step="deletion of old base backups"
    limit=$(date -u -d "@$(($(date +%s) - keep_days * 86400))" +%Y%m%dT%H%M%SZ)
    all_bases >"$scratch/bases"
    total=$(wc -l <"$scratch/bases")
    number=0
    while read -r old chain_of_old; do
        number=$((number + 1))
        next=$(sed -n "$((number + 1))p" "$scratch/bases" | cut -d ' ' -f 1)
        if [ $((total - number)) -lt "$keep_count" ] || [ -z "$next" ] || ! expr "$next" \< "$limit" >/dev/null; then break; fi
        mv "$archive/$chain_of_old/base/$old" "$archive/$chain_of_old/base/incomplete.$old"
        rm -rf "$archive/$chain_of_old/base/incomplete.$old"
        printf 'base backup %s: deleted, older than %s days\n' "$old" "$keep_days"
    done <"$scratch/bases"
    for one in $(chain_names); do
        oldest=$(base_names "$one" | head -n 1)
        if [ -n "$oldest" ]; then
            pg_archivecleanup "$archive/$one/wal" "$(base_value "$one" "$oldest" wal)" 2>"$scratch/err" ||
                fail "$(cat "$scratch/err")"
        elif [ "$one" != "$(newest_chain)" ]; then
            mv "$archive/$one" "$archive/incomplete.$one"
            rm -rf "$archive/incomplete.$one"
            printf 'chain %s: deleted, it has no base backup\n' "$one"
        fi
    done
}

# The receiver may still be about to write what this base backup needs: that isn't a hole.
report_holes() {
    step="check of the WAL"
    count=0
    while read -r base chain_of_base; do
        check_wal "$chain_of_base" "$(base_value "$chain_of_base" "$base" wal)" "$(base_value "$chain_of_base" "$base" segment_bytes)"
        if [ -n "$last_file" ] && [ -n "$holes" ]; then
            printf 'chain %s: missing WAL after %s: %s\n' "$chain_of_base" "$last_file" "$holes" >&2
            count=$((count + 1))
        fi
    done <<LIST
$(all_bases)
LIST
    run_psql --set count=$count <<'SQL'
INSERT INTO backups.archive (holes) VALUES (:count) ON CONFLICT (only_row) DO UPDATE SET holes = excluded.holes;
SQL
    [ $count = 0 ] || fail "WAL is missing: later times can't be recovered from the base backups before it"
}

check_settings
step="chain"
chain=$(newest_chain)
[ -n "$chain" ] || fail "no WAL has been received yet: see the log of the receiver"
log_in_as_archive
rm -rf "$archive"/*/base/incomplete.*
check_space
name=$(date -u +%Y%m%dT%H%M%SZ)
while [ -e "$archive/$chain/base/$name" ]; do
    sleep 1
    name=$(date -u +%Y%m%dT%H%M%SZ)
done
new=$archive/$chain/base/incomplete.$name
scratch_remains=$new
mkdir -p "$new"
take
publish
printf 'base backup %s: complete and verified, %s bytes\n' "$name" "$(base_value "$chain" "$name" bytes)"
record_success
delete_old
# A restore needs it, also if the server is lost.
step="list of erased tenants"
sh "$here/tenants.sh" erased >/dev/null || fail "the base backup is complete, but a restore wouldn't know the erased tenants"
report_holes

#!/bin/sh
# Recovers databases as they were at a point in time, and replaces those of the running server by them.
#
#   sh /assets/recover.sh --to TIME|latest (--database NAME | --all) [--confirm]
#
# TIME is 2026-11-29T12:34:56Z, with up to six digits of a fraction: every transaction that was committed until then comes
# back. `latest`: all that was received. Without --confirm, it prints what would be replaced, and the name with which
# restore.sh does so.
#
# A temporary server (scratch.sh) recovers a copy of the newest base backup before TIME. backup.sh dumps it into
# BACKUP_DIR, and restore.sh restores that, with its checks. The server's own files aren't touched.
#
# chains.sh and common.sh describe the environment.
#
# Exit status: 0; 1 on a failure, with the reason on standard error; 130 and 143 on signals.
operation=recovery
usage="sh recover.sh --to TIME|latest (--database NAME | --all) [--confirm]"
here=$(dirname "$0")
. "$here/common.sh"
. "$here/chains.sh"
. "$here/scratch.sh"

read_arguments() {
    target="" wanted="" confirms=false
    while [ $# -gt 0 ]; do
        case $1 in
            --to | --database) [ -n "${2:-}" ] || refuse_usage "$1 needs a value" ;;
        esac
        case $1 in
            --all) wanted="$wanted *" ;;
            --confirm) confirms=true ;;
            --database) wanted="$wanted $2" && shift ;;
            --to) target=$2 && shift ;;
            *) refuse_usage "unknown argument: $1" ;;
        esac
        shift
    done
    wanted=${wanted# }
    case $wanted in '' | *' '*) refuse_usage "expected one --database, or --all" ;; esac
    [ -n "$target" ] || refuse_usage "expected --to"
    if [ "$target" != latest ]; then
        printf '%s\n' "$target" | grep -Eqx '[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z' ||
            refuse_usage "\"$target\" is not a time in UTC such as 2026-11-29T12:34:56Z"
        date -u -d "$target" >/dev/null 2>&1 || refuse_usage "there is no time \"$target\""
        fraction=$(printf '%s' "$target" | sed -n 's/.*\.\([0-9]*\)Z/\1/p')
        target=$(printf '%s.%s' "${target%%[.Z]*}" "${fraction}000000" | cut -c 1-26)Z
    fi
}

# On an idle server, the last commit may be a while ago, and a recovery can't stop at a later time. If the server responds,
# a commit now is received within seconds.
reach_now() {
    log_in_as_archive
    beat=$(psql --no-psqlrc --quiet --no-password --tuples-only --no-align 2>/dev/null <<'SQL'
INSERT INTO backups.archive (seen_at) VALUES (now()) ON CONFLICT (only_row) DO UPDATE SET seen_at = now()
RETURNING to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
SQL
    ) || return 0
    rounds=0
    set -- $(all_bases | tail -n 1)
    [ $# = 2 ] || return 0
    while [ $rounds -lt 20 ]; do
        rounds=$((rounds + 1))
        find_range "$2" "$1"
        if [ -n "$until_time" ] && ! expr "$until_time" \< "$beat" >/dev/null; then return 0; fi
        sleep 0.5
    done
    printf 'the WAL of the last seconds has not been received: see the status of the workload archive\n' >&2
}

# Set `chain`, `base` and `until_time`: the newest undamaged base backup from which the target can be recovered.
find_base() {
    ranges=""
    all_bases | sort -r >"$scratch/bases"
    [ -s "$scratch/bases" ] || fail "there is no base backup in $archive"
    while read -r base chain; do
        find_range "$chain" "$base"
        [ -n "$until_time" ] || continue
        ranges="  from $from_time to $until_time (base backup $base)
$ranges"
        if [ "$target" != latest ]; then
            if expr "$target" \< "$from_time" >/dev/null || ! is_before_end; then continue; fi
        fi
        pg_verifybackup --quiet "$archive/$chain/base/$base/data" >"$scratch/err" 2>&1 && return 0
        printf 'base backup %s is damaged and not used: %s\n' "$base" "$(head -n 1 "$scratch/err")" >&2
    done <"$scratch/bases"
    return 1
}

# PostgreSQL recovers to a time if the WAL has an end of a transaction after it. If there will be none, because the server
# is lost, the time of the last one can still be recovered.
is_before_end() {
    expr "$target" \< "$until_time" >/dev/null || { $includes_end && [ "$target" = "$until_time" ]; }
}

choose_base() {
    step="recoverable times"
    includes_end=false
    find_base && return 0
    reach_now
    find_base && return 0
    includes_end=true
    find_base || fail "$target can't be recovered. The recoverable times:
${ranges:-  none
}"
}

# After the loss of a server, the newest base backup is soon one of the new server, perhaps an empty one.
report_earlier_server() {
    [ "$target" = latest ] || return 0
    system=$(cat "$archive/$chain/system")
    for earlier in $(chain_names | tac); do
        if expr "$earlier" \< "$chain" >/dev/null && [ "$(cat "$archive/$earlier/system")" != "$system" ]; then
            printf 'recovery to latest: of the server that the chain %s began with. Changes of the server before it: see points, and --to\n' \
                "$chain" >&2
            return 0
        fi
    done
}

# Recover into $copy, in which the scratch server runs.
recover() {
    step="recovery to $target"
    bytes=$(base_value "$chain" "$base" bytes)
    # The copy, the WAL that is replayed, and the dumps.
    require_space "$archive" $((bytes / 1048576 * 3 / 2 + 256))
    cp -R --reflink=auto --preserve=mode,timestamps "$archive/$chain/base/$base/data" "$copy" 2>"$scratch/err" ||
        fail "$(cat "$scratch/err")"
    touch "$copy/recovery.signal"
    printf 'recovery to %s: base backup %s, WAL from %s\n' "$target" "$base" "$(base_value "$chain" "$base" wal)"
    wal=$archive/$chain/wal
    set -- -c restore_command="cp '$wal/%f' '%p' 2>/dev/null || cp '$wal/%f.partial' '%p' 2>/dev/null" \
        -c recovery_target_action=promote -c recovery_target_timeline=latest -c log_timezone=UTC \
        -c recovery_target= -c recovery_target_name= -c recovery_target_xid= -c recovery_target_lsn= -c recovery_target_time=
    # Without a target, the recovery ends with the WAL.
    ends_with_wal=true
    if [ "$target" != latest ] && [ "$target" != "$until_time" ]; then
        ends_with_wal=false
        # PostgreSQL reads this parameter before it knows names of time zones, such as Z.
        set -- "$@" -c recovery_target_time="${target%Z}+00"
    fi
    start_scratch_server "$copy" "$@"
    if $ends_with_wal; then
        read_end
        # A damaged record looks like the end of the WAL.
        if expr "$reached" \< "$until_time" >/dev/null; then fail "the WAL is damaged: it ends at $reached, not at $until_time"; fi
        [ "$target" = latest ] || [ "$target" = "$reached" ] || fail "WAL was received meanwhile, until $reached: run it again"
        target=$reached
    fi
}

# Set `reached` to the time of the last transaction that the server has recovered. The log omits zeros at the end.
read_end() {
    reached=$(sed -n 's/.*last completed transaction was at log time \([0-9-]*\) \([0-9:.]*\)+00$/\1T\2/p' "$scratch_log")
    case $reached in *.*) ;; *) reached=$reached. ;; esac
    reached=$(printf '%s000000' "$reached" | cut -c 1-26)Z
}

# Only the wanted databases are dumped.
drop_others() {
    [ "$wanted" != "*" ] || return 0
    on_scratch_server psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --set wanted="$wanted" \
        >"$scratch/out" 2>"$scratch/err" <<'SQL' || fail "$(cat "$scratch/err")"
SELECT 'found' FROM pg_database WHERE datname = :'wanted';
SELECT format('DROP DATABASE %I', datname) FROM pg_database
WHERE NOT datistemplate AND datname <> ALL (ARRAY['postgres', :'wanted']) \gexec
SQL
    grep -qx found "$scratch/out" || fail "there was no database \"$wanted\" at $target"
}

dump_recovered() {
    step="dump of the recovered databases"
    case $wanted in '*') databases="" ;; *) databases=$wanted ;; esac
    on_scratch_server env BACKUP_DATABASES="$databases" BACKUP_AS_OF="$target" BACKUP_KEEP_COUNT=1 BACKUP_KEEP_DAYS=1 \
        sh "$here/backup.sh" || fail "Nothing has been replaced."
    stop_scratch_server
    rm -rf "$copy"
}

read_arguments "$@"
step="directory $archive"
[ -d "$archive" ] || fail "ARCHIVE_DIR is not a directory: is its volume mounted?"
# The remains of a recovery that was killed.
copy=$archive/incomplete.recovery
rm -rf "$copy"
scratch_remains=$copy
choose_base
report_earlier_server
recover
drop_others
dump_recovered
name=$(newest_backup)
case $wanted in '*') set -- --all ;; *) set -- --database "$wanted" ;; esac
if $confirms; then set -- "$@" --confirm "$name"; fi
unset PGUSER PGPASSWORD
sh "$here/restore.sh" "$@" --from "$name"

#!/bin/sh
# Proves that the newest backup can be restored, without the platform's server: drill_restore.sh restores it into a temporary
# server and compares it. Records the result for the alerts (exporter_queries.yml).
#
#   sh /assets/drill.sh
#
# Needs the same as backup.sh, initdb and postgres. common.sh describes the environment that all scripts share; BACKUP_DIR is
# only read.
#
# Environment
#   DRILL_DIR          a directory on a volume with room for the largest database; created, and emptied before and after
#   BACKUP_DATABASES   as for backup.sh: the databases whose drill has failed if there is no usable backup
#
# A run that is killed leaves a directory without a server, which the next run removes.
#
# Exit status: 0 if the backup is complete and as recorded; 1 if not, with each problem on standard error, what stopped the
# drill first; 130 and 143 on signals.
operation=drill
usage="sh drill.sh"
here=$(dirname "$0")
. "$here/common.sh"

work=${DRILL_DIR:-/var/lib/drill}

record() {
    step="record of the result"
    log_in_as "${BACKUP_USER:-pti_backup}" "${BACKUP_PASSWORD_FILE:-/run/secrets/backup/password}"
    for database in $databases; do
        number=$(grep -c "^\($database\|all databases\): " "$scratch/problems") || :
        run_psql --set database="$database" --set backup="$name" --set problems="$number" <<'SQL'
INSERT INTO backups.last_drill AS d VALUES
    (:'database', :'backup', now(), :'problems', CASE WHEN :'problems' = '0' THEN now() END)
ON CONFLICT (database) DO UPDATE SET backup = excluded.backup, ended_at = excluded.ended_at,
    problems = excluded.problems, succeeded_at = coalesce(excluded.succeeded_at, d.succeeded_at);
SQL
    done
}

[ $# -eq 0 ] || refuse_usage "unknown argument: $1"
check_directory
step="directory $work"
mkdir -p "$work" 2>"$scratch/err" || fail "is its volume mounted? $(cat "$scratch/err")"
exec 9<"$work"
flock -n 9 || fail "another drill is running"
trap 'rm -rf "$scratch" "$work/data"' EXIT
: >"$scratch/problems"
name=$(newest_backup)
databases=${BACKUP_DATABASES:-}
if [ -z "$name" ]; then
    printf 'all databases: there is no backup\n' >"$scratch/problems"
else
    printf 'backup %s\n' "$name"
    check_manifest "$name"
    if [ -z "$damage" ]; then databases=$(backed_up_databases "$name"); fi
    # Its end is awaited, also after a signal, because the server would keep running.
    sh "$here/drill_restore.sh" "$name" "$scratch/problems" 2>"$scratch/stopped" &
    drill=$!
    trap 'kill "$drill" 2>/dev/null; wait "$drill"; exit 143' TERM INT
    status=0
    wait "$drill" || status=$?
    trap 'exit 143' TERM INT
    if [ $status -ne 0 ]; then
        { sed 's/^/all databases: /' "$scratch/stopped" && cat "$scratch/problems"; } >"$scratch/reordered"
        mv "$scratch/reordered" "$scratch/problems"
        [ -s "$scratch/problems" ] || printf 'all databases: the drill ended with status %s\n' $status >"$scratch/problems"
    fi
fi
problems=$(cat "$scratch/problems")
[ -z "$problems" ] || printf '%s\n' "$problems" >&2
record
step="comparison"
[ -z "$problems" ] || fail "The backup $name can't be restored as it was taken: see the lines above."
printf 'backup %s: restored into a temporary server, and as recorded, databases: %s\n' "$name" \
    "$(printf '%s' "$databases" | tr '\n' ' ')"

#!/bin/sh
# Restores a backup into a temporary server in DRILL_DIR and compares it with what the backup recorded. For drill.sh.
#
#   sh /assets/drill_restore.sh BACKUP PROBLEMS
#
# Adds lines `<database>: <problem>` to the file PROBLEMS, or `all databases: <problem>`:
# - a file of the backup is missing or damaged, or can't be read to its end;
# - roles, owners, grants, policies, forced row security, extensions, sequences and other facts of catalog.sql and roles.sql
#   that differ;
# - a database can't be restored, or a table has another number of rows than the manifest;
# - a finding of tenancy.audit() in the restored database.
#
# One database after the other is restored and dropped. Exit status: 0 if every database was examined; 1 if the drill had to
# stop, with the reason on standard error.
operation=drill
usage="sh drill_restore.sh BACKUP PROBLEMS"
here=$(dirname "$0")
. "$here/common.sh"
. "$here/restoring.sh"
. "$here/scratch.sh"

work=${DRILL_DIR:-/var/lib/drill}
name=$1
problems=$2
FULL_KIB=16384

# problem SUBJECT TEXT
problem() {
    printf '%s\n' "$2" | sed "s/^/$1: /" >>"$problems"
}

# A full disk explains every other message, and ends the drill.
check_disk() {
    free_kib=$(df -Pk "$work" | awk 'NR == 2 { print $4 }')
    step="volume of the drill"
    [ "$free_kib" -ge $FULL_KIB ] || fail "it is full, $free_kib KiB are free: enlarge it (backups.drill.storageGib)"
}

# A server that has crashed starts again.
await_server() {
    step="temporary server"
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        if on_scratch_server pg_isready --quiet; then return 0; fi
        sleep 1
    done
    fail "it has ended. The end of its log:
$(tail -n 20 "$scratch_log")"
}

# compare_facts SUBJECT FILE SCRIPT DATABASE: compare the facts of the backup's file with those of the script.
compare_facts() {
    if ! [ -f "$directory/$name/$2" ]; then
        printf '%s: not compared with facts, because a backup of an earlier release has none\n' "$1"
        return 0
    fi
    run_psql --dbname "$4" --file "$here/$3"
    grep -Fxv -f "$scratch/out" "$directory/$name/$2" >"$scratch/missing" || :
    grep -Fxv -f "$directory/$name/$2" "$scratch/out" >"$scratch/other" || :
    if [ -s "$scratch/missing" ]; then problem "$1" "$(sed 's/^/in the backup, but not restored: /' "$scratch/missing")"; fi
    if [ -s "$scratch/other" ]; then problem "$1" "$(sed 's/^/restored, but not in the backup: /' "$scratch/other")"; fi
}

restore_roles() {
    step="restore of the roles"
    psql --no-psqlrc --quiet --no-password --file "$directory/$name/globals.sql" >/dev/null 2>"$scratch/err" || :
    # The server has created it.
    sed '/ERROR:  role "postgres" already exists$/d' "$scratch/err" >"$scratch/errors"
    if [ -s "$scratch/errors" ]; then problem "all databases" "$(cat "$scratch/errors")"; fi
    compare_facts "all databases" globals.catalog roles.sql postgres
}

drill_database() {
    step="restore of $1"
    pg_restore --create --exit-on-error --no-password --dbname=postgres "$directory/$name/$1.dump" 2>"$scratch/err" ||
        fail "$(cat "$scratch/err")"
    step="rows of $1"
    count_rows "$1"
    backed_up_rows "$name" "$1" >"$scratch/backed-up"
    compare_rows "after the restore" >"$scratch/different"
    if [ -s "$scratch/different" ]; then problem "$1" "$(sed 's/^ *//' "$scratch/different")"; fi
    step="facts of $1"
    compare_facts "$1" "$1.catalog" catalog.sql "$1"
    step="audit of $1"
    run_psql --dbname "$1" <<'SQL'
SELECT $$SELECT format('audit: %s: %s', object, problem) FROM tenancy.audit()$$
FROM pg_proc WHERE pronamespace = to_regnamespace('tenancy') AND proname = 'audit' \gexec
SQL
    if [ -s "$scratch/out" ]; then problem "$1" "$(cat "$scratch/out")"; fi
}

check_manifest "$name"
step="manifest"
[ -z "$damage" ] || fail "$damage"
databases=$(backed_up_databases "$name")
check_files "$name" globals.sql $(catalogs "$name")
step="files of the backup"
[ -z "$damage" ] || fail "$damage"
rm -rf "$work/data"
trap 'rm -rf "$scratch"' EXIT
step="temporary server"
create_scratch_server "$work/data"
trap 'stop_scratch_server; rm -rf "$work/data" "$scratch"' EXIT
export PGHOST="$scratch_socket" PGPORT=5432 PGUSER=postgres PGSSLMODE=disable
unset PGPASSWORD PGPASSFILE PGSSLROOTCERT PGHOSTADDR PGSERVICE
restore_roles
for database in $databases; do
    check_files "$name" "$database.dump"
    if [ -n "$damage" ]; then
        problem "$database" "$damage"
        continue
    fi
    if ! (drill_database "$database") 2>"$scratch/failed"; then
        problem "$database" "$(cat "$scratch/failed")"
        check_disk
        await_server
    fi
    printf 'database %s: examined\n' "$database"
    drop_database "$database"
done

#!/bin/sh
# Replaces databases of the running server by those of a backup.
#
#   sh /assets/restore.sh (--database NAME | --all) [--from BACKUP] [--rehearse | --confirm BACKUP]
#   sh /assets/restore.sh --drop-replaced
#
# Without --confirm, it checks the backup, prints what a restore would replace and how many rows, and changes nothing.
# --confirm repeats the backup's name. --from is the newest backup by default. --rehearse restores beside the existing
# databases, compares the rows, and drops the restored ones again: a proof that the backup can be restored.
#
# Each database is restored beside the existing one, as restoring_<database>, and its rows are compared with the
# manifest. Then all of them take their names in one transaction, which ends the sessions of their clients. The replaced
# database is kept as replaced_<time>_<database> until --drop-replaced. A run that fails or is killed before that
# transaction has changed nothing; run it again. Before it, the tenants that were erased since the backup are erased again.
#
# The archive contains everything in the database, and its owner, grants and settings: also the schema tenancy, the
# policies, and last the event trigger, so that it doesn't interfere. It doesn't contain roles: on a new server, run the
# provisioning task first, and create other roles that objects belong or are granted to with the backup's globals.sql.
#
# Logs in as the superuser, because event triggers and extensions require it. Needs the same as backup.sh.
# common.sh describes the environment.
#
# Exit status: 0; 1 on a failure, with the reason on standard error; 130 and 143 on signals.
operation=restore
usage="sh restore.sh (--database NAME | --all) [--from BACKUP] [--rehearse | --confirm BACKUP] | --drop-replaced"
here=$(dirname "$0")
. "$here/common.sh"

read_arguments() {
    wanted="" from="" confirmed="" rehearses=false drops_replaced=false
    while [ $# -gt 0 ]; do
        case $1 in
            --database | --from | --confirm) [ -n "${2:-}" ] || refuse_usage "$1 needs a value" ;;
        esac
        case $1 in
            --all) wanted="$wanted *" ;;
            --rehearse) rehearses=true ;;
            --drop-replaced) drops_replaced=true ;;
            --database) wanted="$wanted $2" && shift ;;
            --from) from=$2 && shift ;;
            --confirm) confirmed=$2 && shift ;;
            *) refuse_usage "unknown argument: $1" ;;
        esac
        shift
    done
    wanted=${wanted# }
    if $drops_replaced; then
        [ "$wanted$from$confirmed$rehearses" = false ] || refuse_usage "--drop-replaced has no other arguments"
    else
        case $wanted in '' | *' '*) refuse_usage "expected one --database, or --all" ;; esac
        if $rehearses && [ -n "$confirmed" ]; then refuse_usage "--rehearse needs no --confirm"; fi
    fi
}

choose_backup() {
    step="backup"
    name=${from:-$(newest_backup)}
    [ -n "$name" ] || fail "there is no backup in $directory"
    is_backup_name "$name" && [ -d "$directory/$name" ] || fail "there is no backup \"$name\""
    check_manifest "$name"
    [ -z "$damage" ] || fail "the backup $name can't be used: $damage"
    databases=""
    files=""
    for database in $(backed_up_databases "$name"); do
        if [ "$wanted" = "*" ] || [ "$wanted" = "$database" ]; then
            databases="$databases $database"
            files="$files $database.dump"
        fi
    done
    databases=${databases# }
    [ -n "$databases" ] || fail "the backup $name has no database \"$wanted\""
    check_files "$name" $files
    [ -z "$damage" ] || fail "the backup $name can't be used: $damage"
    [ -z "$confirmed" ] || [ "$confirmed" = "$name" ] || fail "--confirm names the backup $confirmed, and this is $name"
}

connect() {
    step="connect to ${PGHOST:-the local socket} as ${ADMIN_USER:-postgres}"
    log_in_as "${ADMIN_USER:-postgres}" "${ADMIN_PASSWORD_FILE:-/run/secrets/admin/password}"
    run_psql --command "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    [ "$(cat "$scratch/out")" = t ] || fail "$PGUSER is not a superuser"
}

database_exists() {
    run_psql --set database="$1" <<'SQL'
SELECT 1 FROM pg_database WHERE datname = :'database';
SQL
    [ -s "$scratch/out" ]
}

drop_database() {
    run_psql --set database="$1" <<'SQL'
DROP DATABASE IF EXISTS :"database" WITH (FORCE);
SQL
}

# Count the rows into $scratch/counted. count_rows DATABASE
count_rows() {
    run_psql --dbname "$1" --file "$here/rows.sql"
    mv "$scratch/out" "$scratch/counted"
}

# Print the tables whose number of rows differs. compare_rows WORDS, which describe the counted rows
compare_rows() {
    awk -v counted="$1" '
        {
            match($0, /: [0-9]+$/)
            table = substr($0, 1, RSTART - 1)
            rows = substr($0, RSTART + 2)
            tables[table]
            if (FILENAME == ARGV[1]) in_backup[table] = rows; else found[table] = rows
        }
        END {
            for (table in tables) {
                then = table in in_backup ? in_backup[table] " rows" : "no such table"
                now = table in found ? found[table] " rows" : "no such table"
                if (then != now) printf "  %s: %s in the backup, %s %s\n", table, then, now, counted
            }
        }' "$scratch/backed-up" "$scratch/counted" | sort
}

explain() {
    step="current state of $1"
    backed_up_rows "$name" "$1" >"$scratch/backed-up"
    printf 'database %s: the backup is of %s\n' "$1" "$(snapshot_time "$name" "$1")"
    if ! database_exists "$1"; then
        printf '  the database does not exist now\n'
        return 0
    fi
    count_rows "$1"
    compare_rows now >"$scratch/different"
    if [ -s "$scratch/different" ]; then
        cat "$scratch/different"
    else
        printf '  every table has as many rows now; changed rows are not counted\n'
    fi
}

# Replace the database's name in the statements about it, because pg_restore only knows the archive's. A line within a
# string, such as a comment's, stays; a quote in a string is doubled. A server older than 17 has no transaction_timeout.
# rename_in_statements OLD NEW
rename_in_statements() {
    awk -v old="DATABASE \"?$1\"? " -v new="DATABASE $2 " '
        quotes % 2 == 0 {
            if (/^--/ || /^\\connect / || /^SET transaction_timeout /) next
            sub(old, new)
        }
        {
            print
            quotes += gsub(/\047/, "")
        }'
}

# pg_restore 17 and newer sets transaction_timeout. A server older than 17 doesn't know it: this error is ignored, if it
# is the only one. restore_archive ARCHIVE DATABASE
restore_archive() {
    run_psql --command "SELECT '--exit-on-error' WHERE current_setting('server_version_num')::int >= 170000"
    exit_on_error=$(cat "$scratch/out")
    pg_restore $exit_on_error --no-password --dbname="$2" "$1" 2>"$scratch/err" && return 0
    [ -z "$exit_on_error" ] && grep -qx 'Command was: SET transaction_timeout = 0;' "$scratch/err" &&
        [ "$(tail -n 1 "$scratch/err")" = "pg_restore: warning: errors ignored on restore: 1" ]
}

# restore_beside DATABASE
restore_beside() {
    step="restore of $1"
    new=restoring_$1
    archive=$directory/$name/$1.dump
    drop_database "$new"
    pg_restore --list --create "$archive" >"$scratch/contents" 2>"$scratch/err" || fail "$(cat "$scratch/err")"
    grep -E '^[0-9]+; [0-9]+ [0-9]+ (DATABASE|DATABASE PROPERTIES|(ACL|COMMENT|SECURITY LABEL) - DATABASE) ' \
        "$scratch/contents" >"$scratch/about" || fail "the archive doesn't describe its database"
    pg_restore --create --use-list="$scratch/about" --file="$scratch/about.sql" "$archive" 2>"$scratch/err" ||
        fail "$(cat "$scratch/err")"
    rename_in_statements "$1" "$new" <"$scratch/about.sql" >"$scratch/renamed.sql"
    run_psql --file "$scratch/renamed.sql"
    restore_archive "$archive" "$new" ||
        fail "$(cat "$scratch/err")
Nothing has been replaced. If a role is missing: run the provisioning task, or see globals.sql in the backup."
    count_rows "$new"
    backed_up_rows "$name" "$1" >"$scratch/backed-up"
    compare_rows "after the restore" >"$scratch/different"
    [ ! -s "$scratch/different" ] || fail "$(cat "$scratch/different")
Nothing has been replaced; $new stays until the next restore, or --drop-replaced."
    run_psql --dbname "$new" --command ANALYZE
    printf 'database %s: restored as %s, every table has the rows of the manifest\n' "$1" "$new"
}

# What was erased after the backup must not come back, not even for a moment. The list is in the current databases and on
# the volume (tenants.sh).
erase_again() {
    step="erased tenants"
    restored=""
    for database in $databases; do restored="$restored restoring_$database"; done
    sh "$here/tenants.sh" apply-erased $restored || fail "Nothing has been replaced."
}

check_names() {
    for database in $databases; do
        step="names"
        [ ${#database} -le 39 ] || fail "$database has more than 39 characters, so that replaced_<time>_$database is too long"
    done
}

# The sessions of the replaced databases are terminated while the swap runs. It locks out new ones, but not those that
# connect between the first termination and the lock; a client that reconnects at once always finds that moment. They
# are found by the database's id, which the swap doesn't change, so that no session of a restored database is ended.
replace() {
    step="replacement"
    run_psql --set databases="$databases" <<'SQL'
SELECT string_agg(oid::text, ' ') FROM pg_database WHERE datname = ANY (string_to_array(:'databases', ' '));
SQL
    replaced=$(cat "$scratch/out")
    : >"$scratch/swapped"
    (
        status=0
        psql --no-psqlrc --quiet --no-password --set ON_ERROR_STOP=1 --set databases="$databases" \
            --set stamp="$(date -u +%Y%m%d%H%M%S)" --file "$here/swap.sql" 2>"$scratch/swap" || status=$?
        printf '%s\n' $status >"$scratch/swapped"
    ) &
    rounds=0
    until [ -s "$scratch/swapped" ] || [ $rounds -ge 300 ]; do
        rounds=$((rounds + 1))
        # If this fails, the swap still ends, and its result counts.
        psql --no-psqlrc --quiet --no-password --set replaced="$replaced" >/dev/null 2>&1 <<'SQL' || :
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = ANY (string_to_array(:'replaced', ' ')::oid[]);
SQL
        sleep 0.1
    done
    wait
    [ "$(cat "$scratch/swapped")" = 0 ] || fail "$(cat "$scratch/swap")
Nothing has been replaced."
}

drop_replaced() {
    step="replaced databases"
    # No restore is running (lock_directory): what it would replace them with is left by one that failed.
    run_psql --command "SELECT datname FROM pg_database WHERE datname ~ '^(replaced_\d{14}|restoring)_' ORDER BY 1"
    for replaced in $(cat "$scratch/out"); do
        drop_database "$replaced"
        printf 'database %s: dropped\n' "$replaced"
    done
}

read_arguments "$@"
lock_directory
if $drops_replaced; then
    connect
    drop_replaced
    exit 0
fi
choose_backup
check_names
connect
printf 'backup %s\n' "$name"
if $rehearses; then
    for database in $databases; do
        restore_beside "$database"
        drop_database "restoring_$database"
        printf 'database %s: dropped again\n' "restoring_$database"
    done
    exit 0
fi
for database in $databases; do explain "$database"; done
if [ -z "$confirmed" ]; then
    printf 'Nothing has been changed. To replace the databases: --from %s --confirm %s\n' "$name" "$name"
    exit 0
fi
for database in $databases; do restore_beside "$database"; done
erase_again
replace
for database in $databases; do printf 'database %s: replaced\n' "$database"; done
run_psql --command "SELECT datname FROM pg_database WHERE datname ~ '^replaced_\d{14}_' ORDER BY 1"
if [ -s "$scratch/out" ]; then
    printf 'kept until --drop-replaced: %s\n' "$(tr '\n' ' ' <"$scratch/out")"
fi

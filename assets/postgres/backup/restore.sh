#!/bin/sh
# Replaces databases of the running server by those of a backup.
#
#   sh /assets/restore.sh (--database NAME | --all) [--from BACKUP] [--rehearse | --confirm BACKUP]
#   sh /assets/restore.sh --drop-replaced     also drops the rows that restore_tenant.sh has replaced
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
. "$here/restoring.sh"

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
            --set restored="${restored_ids# }" --set stamp="$(date -u +%Y%m%d%H%M%S)" --file "$here/swap.sql" 2>"$scratch/swap" || status=$?
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
    [ "$(cat "$scratch/swapped")" = 0 ] || report_failed_swap
}

# The connection may have been lost, while the server went on and committed. The ids of the databases show it, because the
# swap keeps them, as soon as its session has ended.
report_failed_swap() {
    reason=$(cat "$scratch/swap")
    for attempt in 1 2 3 4 5 6 7 8 9 10 11 12; do
        psql --no-psqlrc --quiet --no-align --tuples-only --no-password --set replaced="$replaced" \
            --set databases="$databases" >"$scratch/found" 2>/dev/null <<'SQL' || : >"$scratch/found"
SELECT CASE WHEN EXISTS (SELECT FROM pg_stat_activity
        WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid()) THEN 'running'
    WHEN EXISTS (SELECT FROM pg_database WHERE datname = ANY (string_to_array(:'databases', ' '))
        AND oid <> ALL (string_to_array(:'replaced', ' ')::oid[])) THEN 'replaced'
    ELSE 'unchanged' END;
SQL
        case $(cat "$scratch/found") in
            replaced)
                printf '%s\nThe databases were replaced nevertheless.\n' "$reason" >&2
                return 0
                ;;
            unchanged) fail "$reason
Nothing has been replaced." ;;
        esac
        sleep 5
    done
    fail "$reason
The server doesn't respond: either all databases have been replaced, or none. In the first case, the server has databases
whose names begin with replaced_."
}

drop_replaced() {
    step="replaced databases"
    # No restore is running (lock_directory): what it would replace them with is left by one that failed.
    run_psql --command "SELECT datname FROM pg_database WHERE datname ~ '^(replaced_\d{14}|restoring)_' ORDER BY 1"
    for replaced in $(cat "$scratch/out"); do
        drop_database "$replaced"
        printf 'database %s: dropped\n' "$replaced"
    done
    # Of restore_tenant.sh.
    step="replaced rows"
    run_psql --command "SELECT datname FROM pg_database WHERE datdba = to_regrole(quote_ident(datname || '_owner')) ORDER BY 1"
    for database in $(cat "$scratch/out"); do
        run_psql --dbname "$database" <<'SQL'
SELECT format('DROP SCHEMA %I CASCADE', nspname),
    format('SELECT %L', format('database %s: schema %s dropped', current_database(), nspname))
FROM pg_namespace WHERE nspname ~ '^replaced_\d{14}$' ORDER BY 1 \gexec
SQL
        cat "$scratch/out"
    done
}

read_arguments "$@"
# Before the first backup, there may be databases that a recovery to a point in time has replaced (recover.sh).
if [ -d "$directory" ] || ! $drops_replaced; then lock_directory; fi
if $drops_replaced; then
    connect
    drop_replaced
    exit 0
fi
choose_backup
[ -z "$confirmed" ] || [ "$confirmed" = "$name" ] || fail "--confirm names the backup $confirmed, and this is $name"
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

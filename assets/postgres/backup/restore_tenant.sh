#!/bin/sh
# Replaces one tenant's rows in databases of the running server by those of a backup. Other tenants' rows stay.
#
#   sh /assets/restore_tenant.sh TENANT --from BACKUP [--database NAME] [--confirm TENANT | --discard]
#
# Without --database, in every database of the backup that belongs to a service. Without --confirm, it prints per table how
# many rows it would replace, and how many of them are newer or changed, and changes nothing. The backup's databases then
# stay beside the existing ones, as restoring_<database>, for the run with --confirm; --discard drops them.
#
# Each database is changed in one transaction, which only locks the tables while rows are replaced: the services can read,
# and their writes wait. The replaced rows are kept in the schema replaced_<time> of the same database until
# `restore.sh --drop-replaced`. A run that fails or is killed has changed some databases completely and the others not at
# all; run it again.
#
# It refuses, before it changes anything: a tenant that was erased; a database whose tables differ from those of the backup
# so that rows or values would be lost (tenant_check.sql); rows of others that refer to the tenant's rows. All keys, checks
# and unique constraints apply, but the triggers of the service don't run: the rows are those of the backup.
#
# Logs in as the superuser, as restore.sh does. common.sh describes the environment.
#
# Exit status: 0; 1 on a failure, with the reason on standard error; 130 and 143 on signals.
operation=tenant-restore
usage="sh restore_tenant.sh TENANT --from BACKUP [--database NAME] [--confirm TENANT | --discard]"
here=$(dirname "$0")
. "$here/common.sh"
. "$here/restoring.sh"

read_arguments() {
    tenant="" wanted="*" from="" confirmed="" discards=false
    case ${1:-} in '' | -*) refuse_usage "expected a tenant" ;; esac
    tenant=$(printf '%s' "$1" | tr 'A-F' 'a-f')
    shift
    printf '%s\n' "$tenant" | grep -Eqx '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' ||
        refuse_usage "\"$tenant\" is not a tenant: expected a UUID such as 11111111-1111-4111-8111-111111111111"
    while [ $# -gt 0 ]; do
        case $1 in
            --database | --from | --confirm) [ -n "${2:-}" ] || refuse_usage "$1 needs a value" ;;
        esac
        case $1 in
            --discard) discards=true ;;
            --database) wanted=$2 && shift ;;
            --from) from=$2 && shift ;;
            --confirm) confirmed=$2 && shift ;;
            *) refuse_usage "unknown argument: $1" ;;
        esac
        shift
    done
    [ -n "$from" ] || refuse_usage "--from is missing"
    [ -z "$confirmed" ] || [ "$confirmed" = "$tenant" ] || refuse_usage "--confirm doesn't repeat the tenant"
    if $discards && [ -n "$confirmed" ]; then refuse_usage "--discard needs no --confirm"; fi
}

refuse_erased() {
    step="erased tenants"
    sh "$here/tenants.sh" erased >"$scratch/erased" || fail "The list of erased tenants can't be read."
    if grep -q "^$tenant " "$scratch/erased"; then
        fail "$tenant was erased: $(sed -n "s/^$tenant \([^ ]*\).*/requested at \1/p" "$scratch/erased"). Its rows don't come back."
    fi
}

# Keep the databases in which the tenant's rows can be found: other ones were never provisioned.
find_databases() {
    chosen=$databases
    databases=""
    for database in $chosen; do
        step="database $database"
        database_exists "$database" || fail "it doesn't exist now. Restore it first: restore --database $database"
        run_psql --dbname "$database" --command "SELECT 1 WHERE to_regprocedure('tenancy.sources()') IS NOT NULL"
        if [ -s "$scratch/out" ]; then
            databases="$databases $database"
        else
            printf 'database %s: not examined, because it belongs to no service\n' "$database"
        fi
    done
    databases=${databases# }
    step="databases"
    [ -n "$databases" ] || fail "no database of the backup belongs to a service"
}

# The comment marks a copy that is complete, so that a run with --confirm needn't restore it again.
restore_copy() {
    new=restoring_$1
    mark="complete copy of $(sha256sum "$directory/$name/$1.dump")"
    printf '%s' "$mark" >"$scratch/mark.$1"
    step="copy of $1"
    run_psql --set database="$new" --set mark="$mark" <<'SQL'
SELECT 1 FROM pg_database WHERE datname = :'database' AND shobj_description(oid, 'pg_database') = :'mark';
SQL
    if [ -s "$scratch/out" ]; then
        printf 'database %s: %s is a complete copy already\n' "$1" "$new"
        return 0
    fi
    restore_beside "$1"
    run_psql --set database="$new" --set mark="$mark" <<'SQL'
COMMENT ON DATABASE :"database" IS :'mark';
SQL
}

# Run a script in a database, in one transaction, with the tenant's rows of its copy in temporary tables. The rows pass through
# this pipe and are stored nowhere else. with_rows DATABASE SCRIPT [psql option …]
with_rows() {
    live=$1 script=$2
    shift 2
    rm -f "$scratch/unread"
    {
        printf '%s\n' 'BEGIN;' 'SET LOCAL row_security = off;'
        cat "$here/tenant_check.sql"
        read_copy "$live" --file "$here/tenant_columns.sql"
        printf '%s\n' 'CALL pg_temp.check_tables();'
        printf '%s\n' "SELECT * FROM pg_temp.temporary_tables() \\gexec"
        read_copy "$live" --file "$here/tenant_rows.sql"
        # Without its end, the transaction is rolled back.
        if [ ! -s "$scratch/unread" ]; then cat "$here/$script"; fi
    } | psql --no-psqlrc --quiet --no-align --tuples-only --no-password --set ON_ERROR_STOP=1 --dbname "$live" \
        --set tenant="$tenant" "$@" >"$scratch/out" 2>"$scratch/err" || return 1
    [ ! -s "$scratch/unread" ] || fail "$(cat "$scratch/unread")"
}

read_copy() {
    copied=restoring_$1
    shift
    psql --no-psqlrc --quiet --no-align --tuples-only --no-password --set ON_ERROR_STOP=1 --dbname "$copied" \
        --set tenant="$tenant" --set mark="$(cat "$scratch/mark.${copied#restoring_}")" --file "$here/tenant_copy.sql" "$@" 2>"$scratch/copy" || cat "$scratch/copy" >"$scratch/unread"
}

plan() {
    step="comparison of $1"
    with_rows "$1" tenant_plan.sql || fail "$(cat "$scratch/err")
Nothing has been changed."
    if [ -s "$scratch/out" ]; then
        sed "s/^/database $1: /" "$scratch/out"
    else
        printf 'database %s: no row of the tenant, neither now nor in the backup\n' "$1"
    fi
}

replace_rows() {
    step="replacement in $1"
    kept=replaced_$(date -u +%Y%m%d%H%M%S)
    if ! with_rows "$1" tenant_replace.sql --set kept="$kept" --set backup="$name"; then
        reason=$(cat "$scratch/err")
        # The connection may have been lost after the server has committed.
        changed=$(psql --no-psqlrc --quiet --no-align --tuples-only --no-password --dbname "$1" \
            --command "SELECT to_regnamespace('$kept') IS NOT NULL" 2>/dev/null) || changed=unknown
        case $changed in
            t) printf '%s\n' "$reason" >&2 ;;
            f) fail "$reason
Nothing has been changed in $1." ;;
            *) fail "$reason
The server doesn't respond, so it is unknown whether the rows in $1 were replaced: all of them or none. Run this again." ;;
        esac
    fi
    sed "s/^/database $1: /" "$scratch/out"
    printf 'database %s: replaced, the former rows are in the schema %s\n' "$1" "$kept"
}

read_arguments "$@"
lock_directory
choose_backup
connect
if $discards; then
    for database in $databases; do
        step="copy of $database"
        drop_database "restoring_$database"
    done
    exit 0
fi
refuse_erased
find_databases
printf 'backup %s, tenant %s\n' "$name" "$tenant"
for database in $databases; do restore_copy "$database"; done
for database in $databases; do plan "$database"; done
if [ -z "$confirmed" ]; then
    printf 'Nothing has been changed. To replace the rows: --confirm %s\n' "$tenant"
    exit 0
fi
for database in $databases; do replace_rows "$database"; done
for database in $databases; do drop_database "restoring_$database"; done
printf 'tenant %s: the rows of backup %s are back; the former rows are kept until restore --drop-replaced\n' "$tenant" "$name"

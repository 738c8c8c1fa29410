#!/bin/sh
# Brings a PostgreSQL server to the state the platform needs: per service a database, an owner, a migrator and
# an application role; tenant isolation in every database; passwords. Never drops anything. Run it as often as
# you like: it starts from whatever it finds, also from what a killed run left, and two runs at once take turns.
#
#   sh /assets/provision.sh
#
# Needs psql and pg_isready 15 or newer, a server 15 or newer, the *.sql files beside it, and a writable TMPDIR
# (default /tmp). Any user id, read-only root file system, no terminal.
#
# Environment
#   PGHOST, PGPORT, PGUSER         the server and the administrator (superuser; what else works: server.sql)
#   PGPASSWORD_FILE or PGPASSFILE  the administrator's password: a file that holds it, or a libpq password file
#   PGDATABASE                     where the administrator works from, default postgres
#   PGSSLMODE, PGSSLROOTCERT, …    every other libpq variable is passed on untouched
#   PROVISION_TABLE                default /etc/provisioning/databases: lines `service database`; # starts a comment
#   PROVISION_PASSWORDS_DIR        default /run/secrets/passwords: one file per login role, named like the role,
#                                  holding the password (a trailing newline is ignored)
#   PROVISION_WAIT_S               default 60: how long to wait for the server to accept connections
#
# Roles, for a database `d`: `d_owner` (no login), `d_migrator`, `d_app`; for all of them `pti_backup`; and
# `pti_monitor` when a password file of that name is there.
#
# Passwords travel from the file through psql's own \password: psql hashes them (SCRAM-SHA-256), so the server,
# its logs and pg_stat_activity see only the verifier, and no process argument ever holds one. They are set last:
# nobody logs in to a database that isn't isolated yet.
set -eu

backup_role=pti_backup
monitor_role=pti_monitor
table=${PROVISION_TABLE:-/etc/provisioning/databases}
passwords=${PROVISION_PASSWORDS_DIR:-/run/secrets/passwords}
here=$(dirname "$0")
step="start"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/provision.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    printf 'provisioning failed at: %s\n%s\n' "$step" "$1" >&2
    exit 1
}

# What psql wrote on standard error: warnings when it went well, the reason when it didn't.
run_psql() {
    if psql --no-psqlrc --quiet --no-align --tuples-only --no-password --set ON_ERROR_STOP=1 \
        --set backup="$backup_role" --set monitor="$monitor_role" "$@" >"$scratch/out" 2>"$scratch/err"; then
        return 0
    fi
    fail "$(cat "$scratch/err")"
}

relay_warnings() {
    if [ -s "$scratch/err" ]; then cat "$scratch/err" >&2; fi
}

# One role name that also names a file: nothing that could leave the directory or need quoting.
check_name() {
    case $2 in
        '' | [!a-z_]* | *[!a-z0-9_]*) fail "$1: \"$2\" is not a name: lower-case letters, digits and _ only" ;;
    esac
    [ ${#2} -le 50 ] || fail "$1: \"$2\" is longer than 50 characters (PostgreSQL cuts names at 63)"
}

read_table() {
    step="table $table"
    [ -r "$table" ] || fail "PROVISION_TABLE: $table can't be read"
    number=0
    databases=""
    while read -r service database rest || [ -n "${service:-}" ]; do
        number=$((number + 1))
        case $service in '' | '#'*) continue ;; esac
        case $rest in '' | '#'*) ;; *) fail "line $number: expected \"service database\", got more: $rest" ;; esac
        [ -n "$database" ] || fail "line $number: expected \"service database\", got only \"$service\""
        check_name "line $number" "$database"
        case $database in
            postgres | template0 | template1) fail "line $number: $database belongs to the server" ;;
        esac
        case " $databases " in *" $database "*) fail "line $number: $database is there twice" ;; esac
        databases="$databases $database"
    done <"$table"
    [ -n "$databases" ] || fail "no line \"service database\" in it"
}

login_roles() {
    for database in $databases; do printf '%s_migrator %s_app ' "$database" "$database"; done
    printf '%s ' "$backup_role"
    if [ -e "$passwords/$monitor_role" ]; then printf '%s ' "$monitor_role"; fi
}

# Looked at before anything is changed: half a set of passwords is a mistake of the caller's.
check_passwords() {
    step="passwords in $passwords"
    for role in $(login_roles); do
        file=$passwords/$role
        [ -r "$file" ] || fail "$file can't be read: every login role needs a password file"
        password=$(cat "$file")
        [ -n "$password" ] || fail "$file is empty"
        case $password in *"
"*) fail "$file has more than one line" ;; esac
    done
}

connect() {
    step="connect to ${PGHOST:?} as ${PGUSER:?}"
    if [ -n "${PGPASSWORD_FILE:-}" ]; then
        [ -r "$PGPASSWORD_FILE" ] || fail "PGPASSWORD_FILE: $PGPASSWORD_FILE can't be read"
        PGPASSWORD=$(cat "$PGPASSWORD_FILE")
        export PGPASSWORD
    fi
    export PGDATABASE="${PGDATABASE:-postgres}" PGAPPNAME=pti-provisioning PGCONNECT_TIMEOUT="${PGCONNECT_TIMEOUT:-10}"
    # A run whose machine vanished must not hold its lock for the two hours TCP takes to notice.
    export PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning -c lock_timeout=60s -c idle_session_timeout=60s"
    deadline=$(($(date +%s) + ${PROVISION_WAIT_S:-60}))
    until pg_isready --quiet --timeout=3; do
        [ "$(date +%s)" -lt "$deadline" ] || fail "$(pg_isready --timeout=3 2>&1 || true)"
        sleep 1
    done
    run_psql --command "SELECT format('server %s answers', current_setting('server_version'))"
    cat "$scratch/out"
}

prepare_server() {
    step="server"
    with_monitor=false
    if [ -e "$passwords/$monitor_role" ]; then with_monitor=true; fi
    run_psql --set with_monitor=$with_monitor --file "$here/server.sql"
    relay_warnings
    printf 'server: ready\n'
}

prepare_database() {
    step="database $1"
    set -- "$1" --set database="$1" --set owner="$1_owner" --set migrator="$1_migrator" --set app="$1_app"
    database=$1
    shift
    run_psql "$@" --set with_monitor=$with_monitor --file "$here/database.sql"
    relay_warnings
    step="database $database, inside"
    run_psql "$@" --dbname "$database" --single-transaction \
        --file "$here/privileges.sql" --file "$here/tenancy.sql" --file "$here/tenancy_audit.sql"
    relay_warnings
    printf 'database %s: ready\n' "$database"
}

# \password asks on the terminal if there is one; setsid takes it away, and then psql reads standard input.
set_passwords() {
    detach=$(command -v setsid || true)
    count=0
    for role in $(login_roles); do
        step="password of $role"
        password=$(cat "$passwords/$role")
        # printf is the shell's own: no process, no argument list. $detach is empty where there is no setsid.
        # shellcheck disable=SC2086
        printf '%s\n%s\n' "$password" "$password" |
            $detach psql --no-psqlrc --quiet --no-password --set ON_ERROR_STOP=1 --set role="$role" \
                --file "$here/password.sql" >/dev/null 2>"$scratch/err" || fail "$(cat "$scratch/err")"
        count=$((count + 1))
    done
    printf 'passwords: %s set\n' "$count"
}

report() {
    step="report"
    run_psql --set databases="$databases" --file "$here/kept.sql"
    cat "$scratch/out"
    for database in $databases; do
        step="audit of $database"
        run_psql --dbname "$database" \
            --command "SELECT format('audit %s: %s: %s: %s', current_database(), object, problem, remedy) FROM tenancy.audit()"
        if [ -s "$scratch/out" ]; then cat "$scratch/out"; else printf 'audit %s: no findings\n' "$database"; fi
    done
}

read_table
check_passwords
connect
prepare_server
for database in $databases; do prepare_database "$database"; done
set_passwords
report
printf 'provisioning: done\n'

#!/bin/sh
# Provisions a PostgreSQL server for the platform: per service a database, an owner, a migrator and an application
# role, with limits on their connections and their time; tenant isolation in every database; passwords. It never drops
# anything and is idempotent: it completes any state, also that of a killed run, and concurrent runs are serialised.
#
#   sh /assets/provision.sh
#
# Needs psql and pg_isready 15 or newer, a server 15 or newer, the *.sql files beside it, and a writable TMPDIR
# (default /tmp). Any user id, read-only root file system, no terminal.
#
# Environment
#   PGHOST, PGPORT, PGUSER         the server and the administrator, a superuser
#   PGPASSWORD_FILE or PGPASSFILE  the administrator's password: a file that contains it, or a libpq password file
#   PGDATABASE                     the administrator's database, default postgres
#   PGSSLMODE, PGSSLROOTCERT, …    every other libpq variable is passed on unchanged
#   PROVISION_TABLE                default /etc/provisioning/databases: lines `service database connections`, the last
#                                  being the connection limit of its application role; # starts a comment
#   PROVISION_MIGRATOR_CONNECTIONS, PROVISION_BACKUP_CONNECTIONS, PROVISION_MONITOR_CONNECTIONS
#                                  connection limits of these roles, default 2 (each), 10, 5
#   PROVISION_REQUIRE_CONNECTIONS  default false; true refuses a server with fewer connections than their sum
#   PROVISION_PASSWORDS_DIR        default /run/secrets/passwords: one file per login role, named like the role,
#                                  containing the password (a trailing newline is ignored)
#   PROVISION_WAIT_S               default 60: how long to wait for the server to accept connections
#   PROVISION_LOGIN_WAIT_S         default 0: how long to wait until the administrator can log in, if an operator
#                                  sets the password
#
# Roles, for a database `d`: `d_owner` (no login), `d_migrator`, `d_app`; for all of them `pti_backup`; and
# `pti_monitor` and `pti_archive` if a password file of that name exists.
#
# Standard output reports what was created, changed or kept, and the findings of tenancy.audit(); a finding isn't a
# failure. Exit status: 0 if the server is in the wanted state; 1 if it isn't, with the reason on standard error; 130
# and 143 on signals.
#
# Passwords pass from the file through psql's own \password: psql hashes them (SCRAM-SHA-256), so the server, its logs
# and pg_stat_activity only see the verifier, and no process argument contains one. They are set last, so that nobody
# logs in to a database that isn't isolated yet.
set -eu
LC_ALL=C
export LC_ALL

backup_role=pti_backup
monitor_role=pti_monitor
archive_role=pti_archive
table=${PROVISION_TABLE:-/etc/provisioning/databases}
passwords=${PROVISION_PASSWORDS_DIR:-/run/secrets/passwords}
wait_s=${PROVISION_WAIT_S:-60}
login_wait_s=${PROVISION_LOGIN_WAIT_S:-0}
migrator_connections=${PROVISION_MIGRATOR_CONNECTIONS:-2}
backup_connections=${PROVISION_BACKUP_CONNECTIONS:-10}
monitor_connections=${PROVISION_MONITOR_CONNECTIONS:-5}
require_connections=${PROVISION_REQUIRE_CONNECTIONS:-false}
here=$(dirname "$0")
scratch=$(mktemp -d "${TMPDIR:-/tmp}/provision.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

begin() {
    step=$1
    : >"$scratch/out"
}

fail() {
    cat "$scratch/out"
    printf 'provisioning failed at: %s\n%s\n' "$step" "$1" >&2
    exit 1
}

# Standard output is collected in one file per step; standard error contains warnings after success, and the reason
# after a failure.
run_psql() {
    psql --no-psqlrc --quiet --no-align --tuples-only --no-password --set ON_ERROR_STOP=1 \
        --set backup="$backup_role" --set monitor="$monitor_role" --set archive="$archive_role" --set replication=false "$@" >>"$scratch/out" 2>"$scratch/err" ||
        fail "$(cat "$scratch/err")"
    if [ -s "$scratch/err" ]; then cat "$scratch/err" >&2; fi
}

# Print the output of the step, or a default line if there is none.
tell() {
    if [ -s "$scratch/out" ]; then cat "$scratch/out"; else printf '%s\n' "$1"; fi
}

# The name is also a file name, so refuse characters that could leave the directory or need quoting.
check_name() {
    case $2 in
        '' | [!a-z_]* | *[!a-z0-9_]*) fail "$1: \"$2\" is not a name: lower-case letters, digits and _ only" ;;
        postgres | template0 | template1) fail "$1: $2 belongs to the server" ;;
    esac
    [ ${#2} -le 50 ] || fail "$1: \"$2\" is longer than 50 characters (PostgreSQL cuts names at 63)"
}

read_table() {
    begin "table $table"
    if ! [ -f "$table" ] || ! [ -r "$table" ]; then fail "PROVISION_TABLE: $table can't be read"; fi
    number=0
    databases=""
    limits=""
    services_connections=0
    line="service database connections"
    while read -r service database connections rest || [ -n "$service" ]; do
        number=$((number + 1))
        case $service in '' | '#'*) continue ;; esac
        case $rest in '' | '#'*) ;; *) fail "line $number: expected \"$line\", got more: $rest" ;; esac
        [ -n "$database" ] || fail "line $number: expected \"$line\", got only \"$service\""
        check_name "line $number" "$database"
        case " $databases " in *" $database "*) fail "line $number: $database is listed twice" ;; esac
        check_connections "line $number: connections of $database" "$connections"
        databases="$databases $database"
        limits="$limits $database=$connections"
        services_connections=$((services_connections + connections + migrator_connections))
    done <"$table"
    [ -n "$databases" ] || fail "no line \"$line\" in it"
}

check_connections() {
    case $2 in '' | *[!0-9]* | 0*) fail "$1: \"$2\" is not a number of connections, at least 1" ;; esac
}

check_limits() {
    begin "limits of connections"
    check_connections PROVISION_MIGRATOR_CONNECTIONS "$migrator_connections"
    check_connections PROVISION_BACKUP_CONNECTIONS "$backup_connections"
    check_connections PROVISION_MONITOR_CONNECTIONS "$monitor_connections"
    case $require_connections in
        true | false) ;;
        *) fail "PROVISION_REQUIRE_CONNECTIONS: \"$require_connections\" is neither true nor false" ;;
    esac
}

# Connection limit of the application role.
limit_of() {
    for limit in $limits; do
        if [ "${limit%=*}" = "$1" ]; then printf '%s' "${limit#*=}"; fi
    done
}

# role@database: the role, and a database in which to test its login.
logins() {
    for database in $databases; do printf '%s\n' "${database}_migrator@$database" "${database}_app@$database"; done
    printf '%s\n' "$backup_role@$PGDATABASE"
    if $with_monitor; then printf '%s\n' "$monitor_role@$PGDATABASE"; fi
    if $with_archive; then printf '%s\n' "$archive_role@$PGDATABASE"; fi
}

# Checked before any change, because an incomplete set of passwords is the caller's mistake.
check_passwords() {
    begin "passwords in $passwords"
    with_monitor=false with_archive=false
    if [ -e "$passwords/$monitor_role" ]; then with_monitor=true; fi
    if [ -e "$passwords/$archive_role" ]; then with_archive=true; fi
    for login in $(logins); do
        file=$passwords/${login%@*}
        if ! [ -f "$file" ] || ! [ -r "$file" ]; then
            fail "$file can't be read: every login role needs a password file"
        fi
        password=$(cat "$file")
        [ -n "$password" ] || fail "$file is empty"
        case $password in *[[:cntrl:]]*) fail "$file contains a line break or another control character" ;; esac
    done
}

check_seconds() {
    case $2 in '' | *[!0-9]*) fail "$1: \"$2\" is not a number of seconds" ;; esac
}

# Seconds since the machine's start, which clock corrections don't change.
uptime_s() {
    read -r uptime idle </proc/uptime
    printf '%s' "${uptime%.*}"
}

connect() {
    begin "connect to ${PGHOST:-the local socket} as ${PGUSER:-the user of this process}"
    check_seconds PROVISION_WAIT_S "$wait_s"
    check_seconds PROVISION_LOGIN_WAIT_S "$login_wait_s"
    if [ -n "${PGPASSWORD_FILE:-}" ]; then
        [ -r "$PGPASSWORD_FILE" ] || fail "PGPASSWORD_FILE: $PGPASSWORD_FILE can't be read"
        PGPASSWORD=$(cat "$PGPASSWORD_FILE")
        export PGPASSWORD
    fi
    deadline=$(($(uptime_s) + wait_s))
    waiting=false
    until answer=$(pg_isready --timeout=3 2>&1); do
        [ "$(uptime_s)" -lt "$deadline" ] || fail "$answer (waited $wait_s s: PROVISION_WAIT_S)"
        $waiting || printf 'server: waiting up to %s s, %s\n' "$wait_s" "$answer"
        waiting=true
        sleep 1
    done
    deadline=$(($(uptime_s) + login_wait_s))
    waiting=false
    until psql --no-psqlrc --no-password --command '\q' >/dev/null 2>"$scratch/err"; do
        answer=$(cat "$scratch/err")
        [ "$login_wait_s" -gt 0 ] || fail "$answer"
        [ "$(uptime_s)" -lt "$deadline" ] || fail "$answer (waited $login_wait_s s: PROVISION_LOGIN_WAIT_S)"
        $waiting || printf 'server: waiting up to %s s, %s\n' "$login_wait_s" "$answer"
        waiting=true
        sleep 1
    done
    run_psql --command "SELECT format('server: PostgreSQL %s', current_setting('server_version'))"
    cat "$scratch/out"
}

prepare_server() {
    begin "server"
    run_psql --set with_monitor=$with_monitor --set with_archive=$with_archive --set backup_connections="$backup_connections" \
        --set monitor_connections="$monitor_connections" --set services_connections="$services_connections" \
        --set require_connections="$require_connections" --file "$here/server.sql"
    tell "server: unchanged"
}

prepare_database() {
    begin "database $1"
    run_psql --set database="$1" --set owner="$1_owner" --set migrator="$1_migrator" --set app="$1_app" \
        --set app_connections="$(limit_of "$1")" --set migrator_connections="$migrator_connections" \
        --set with_monitor=$with_monitor --file "$here/database.sql"
    run_psql --set owner="$1_owner" --set app="$1_app" --dbname "$1" --single-transaction \
        --file "$here/privileges.sql" --file "$here/tenancy.sql" --file "$here/tenancy_rows.sql" \
        --file "$here/tenancy_guard.sql" --file "$here/tenancy_audit.sql"
    tell "database $1: unchanged"
}

# A successful login shows that the password is current, and avoids a new verifier, whose salt differs each time. The
# login must have used the password: a server that trusts the task's address accepts any (libpq 16 or newer supports
# PGREQUIREAUTH). Only test roles that have a password, because failed logins may raise alerts.
has_password() {
    case $with_verifier in *" $1 "*) ;; *) return 1 ;; esac
    PGPASSWORD=$password PGREQUIREAUTH=scram-sha-256 psql --no-psqlrc --no-password --username "$1" --dbname "$2" \
        --command '\q' >"$scratch/err" 2>&1
}

set_passwords() {
    begin "passwords"
    run_psql --command "SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256\$%'"
    with_verifier=" $(tr '\n' ' ' <"$scratch/out") "
    # \password prompts on the terminal if there is one; setsid detaches it, so that psql reads standard input.
    detach=$(command -v setsid || true)
    kept=0
    for login in $(logins); do
        role=${login%@*}
        begin "password of $role"
        password=$(cat "$passwords/$role")
        if has_password "$role" "${login#*@}"; then
            kept=$((kept + 1))
            continue
        fi
        # printf is a shell builtin, so the password is in no process' arguments. $detach is empty if setsid is missing.
        printf '%s\n%s\n' "$password" "$password" |
            $detach psql --no-psqlrc --quiet --no-password --set ON_ERROR_STOP=1 --set role="$role" \
                --file "$here/password.sql" >/dev/null 2>"$scratch/err" || fail "$(cat "$scratch/err")"
        printf 'role %s: password set\n' "$role"
    done
    if [ $kept -gt 0 ]; then printf 'passwords: %s unchanged\n' $kept; fi
}

report() {
    begin "report"
    run_psql --set databases="$databases" --set with_monitor=$with_monitor --file "$here/kept.sql"
    cat "$scratch/out"
    for database in $databases; do
        begin "audit of $database"
        run_psql --dbname "$database" --command \
            "SELECT concat_ws(': ', 'audit $database', object, problem, remedy) FROM tenancy.audit()"
        tell "audit $database: no findings"
    done
}

export PGDATABASE="${PGDATABASE:-postgres}" PGAPPNAME=pti-provisioning PGCONNECT_TIMEOUT="${PGCONNECT_TIMEOUT:-10}"
# lock_timeout, idle_session_timeout: a run whose machine has failed must not hold its lock until TCP closes the
# connection, which takes two hours. search_path: a role that may create objects in a service's database must not be
# able to make the superuser run its functions.
PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning -c lock_timeout=60s -c idle_session_timeout=60s"
export PGOPTIONS="$PGOPTIONS -c search_path=pg_catalog,pg_temp"

check_limits
read_table
check_passwords
connect
prepare_server
for database in $databases; do prepare_database "$database"; done
set_passwords
report
printf 'provisioning: done\n'

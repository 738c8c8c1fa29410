#!/bin/sh
# Audits the isolation of tenants, exports one tenant's rows, or erases them, in all databases of the platform.
#
#   sh /assets/tenants.sh audit [--json]
#   sh /assets/tenants.sh export TENANT DIRECTORY|-
#   sh /assets/tenants.sh erase TENANT [--confirm TENANT]
#   sh /assets/tenants.sh erased
#   sh /assets/tenants.sh apply-erased [DATABASE …]
#
# Needs psql and pg_isready 15 or newer, provisioned databases, and a writable TMPDIR (default /tmp). Any user id,
# read-only root file system, no terminal.
#
# audit         prints the findings of tenancy.audit() in every database, and a database that can't be audited; records
#               the number per database for the alerts (exporter_queries.yml)
# export        writes one file per table, `<database>/<schema>.<table>.jsonl`, with a JSON object per row, and
#               manifest.json: rows and SHA-256 of each file, and the tables without tenant_id, which aren't exported.
#               One snapshot per database. `-` writes the files to standard output, each after a line `==> NAME <==`
# erase         deletes the tenant's rows, and checks that none is left, also of transactions that ran at the same time.
#               Before that, it records the tenant in tenancy.erased of every database. After a failure or a kill, run
#               it again. Without --confirm, it prints how many rows it would delete, and changes nothing
# erased        prints the list of erased tenants, merged from all databases of the server and TENANTS_ERASED_FILE, and
#               writes it to that file
# apply-erased  erases every tenant of that list again. A restore runs it before anybody uses the restored databases;
#               `restoring_d` is a copy of `d`
#
# Environment
#   PGHOST, PGPORT              the server; every other libpq variable is passed on unchanged
#   TENANTS_TABLE               default /etc/provisioning/databases: lines `service database …`, as for provision.sh
#   TENANTS_PASSWORDS_DIR       default /run/secrets/passwords: files with the passwords of pti_backup, and of each
#                               `<database>_migrator`, which only erase and apply-erased need
#   TENANTS_ERASED_FILE         optional: a file on another volume that also contains the list of erased tenants, so
#                               that it survives the loss of the server. Lines `tenant requested verified`
#   TENANTS_WAIT_S              default 130: how long to wait for the server, and for transactions that ran during an
#                               erasure; a transaction of a service ends after 120 s
#
# pti_backup reads and counts: it sees the rows of all tenants and can't change any. With row_security off, PostgreSQL
# reports an error instead of leaving out rows. The rows are deleted as the database's owner, with app.tenant_id set: the
# policies keep it from other tenants' rows, and a service's triggers get no rights that they don't have anyway. If a
# policy or a trigger keeps rows from being deleted, pti_backup still counts them, and the erasure fails.
#
# Exit status: 0; 1 if there are findings or rows left, or after a failure, with the reason on standard error; 130 and
# 143 on signals.
set -eu
LC_ALL=C
export LC_ALL
umask 077

backup_role=pti_backup
table=${TENANTS_TABLE:-/etc/provisioning/databases}
passwords=${TENANTS_PASSWORDS_DIR:-/run/secrets/passwords}
erased_file=${TENANTS_ERASED_FILE:-}
wait_s=${TENANTS_WAIT_S:-130}

usage() {
    printf 'usage: sh tenants.sh audit [--json] | export TENANT DIRECTORY|- | erase TENANT [--confirm TENANT]
       | erased | apply-erased [DATABASE …]\n' >&2
    exit 1
}

fail() {
    printf 'tenants failed at: %s\n%s\n' "$step" "$1" >&2
    exit 1
}

# as ROLE DATABASE [psql option …]: run the statements of standard input. Errors are in $scratch/err. search_path: a role
# that may create objects in a service's database must not be able to make the backup role run its functions.
as() {
    PGUSER=$1 PGDATABASE=$2 PGPASSWORD=$(cat "$passwords/$1") || fail "$passwords/$1 can't be read"
    PGOPTIONS=$options
    if [ "$1" = "$backup_role" ]; then PGOPTIONS="$options -c search_path=pg_catalog,pg_temp"; fi
    export PGUSER PGDATABASE PGPASSWORD PGOPTIONS
    shift 2
    psql --no-psqlrc --quiet --no-align --tuples-only --no-password --field-separator ' ' --set ON_ERROR_STOP=1 "$@" \
        2>"$scratch/err"
}

# Collect the result of the statements of standard input in $scratch/out. query DATABASE [psql option …]
query() {
    as "$backup_role" "$@" >"$scratch/out" || fail "$(cat "$scratch/err")"
}

# The role of a restored copy is that of the database that it will replace.
migrator_of() {
    printf '%s_migrator' "${1#restoring_}"
}

check_password() {
    if ! [ -f "$passwords/$1" ] || ! [ -r "$passwords/$1" ]; then fail "$passwords/$1 can't be read: the password of $1"; fi
}

begin() {
    step="settings"
    case $wait_s in '' | *[!0-9]*) fail "TENANTS_WAIT_S: \"$wait_s\" is not a number of seconds" ;; esac
    [ -r "$table" ] || fail "TENANTS_TABLE: $table can't be read"
    databases=""
    while read -r service database rest || [ -n "$service" ]; do
        case $service in '' | '#'*) continue ;; esac
        databases="$databases $database"
    done <"$table"
    [ -n "$databases" ] || fail "TENANTS_TABLE: $table lists no database"
    check_password "$backup_role"
    step="connect to ${PGHOST:-the local socket}"
    deadline=$(($(uptime_s) + wait_s))
    until answer=$(pg_isready --timeout=3 2>&1); do
        [ "$(uptime_s)" -lt "$deadline" ] || fail "$answer (waited $wait_s s: TENANTS_WAIT_S)"
        sleep 1
    done
}

uptime_s() {
    read -r uptime idle </proc/uptime
    printf '%s' "${uptime%.*}"
}

check_tenant() {
    step="tenant"
    tenant=$(printf '%s' "$1" | tr 'A-F' 'a-f')
    printf '%s\n' "$tenant" | grep -Eqx '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' ||
        fail "\"$1\" is not a tenant: expected a UUID such as 11111111-1111-4111-8111-111111111111"
}

# Databases of the server that aren't in the table: nothing is exported or deleted there. Databases that a restore has
# replaced are among them.
find_unlisted_databases() {
    step="databases"
    query postgres --set listed="$databases" <<'SQL'
SELECT datname FROM pg_database
WHERE datname NOT IN ('postgres', 'template0', 'template1') AND datname <> ALL (string_to_array(:'listed', ' '))
ORDER BY 1;
SQL
}

# --- audit ---

audit() {
    total=0
    separator="["
    for database in $databases; do
        step="audit of $database"
        if as "$backup_role" "$database" >"$scratch/findings" <<'SQL'
SELECT json_build_object('database', current_database(), 'object', object, 'problem', problem, 'remedy', remedy)
FROM tenancy.audit();
SQL
        then :; else
            reason=$(tr '\\"\t\n' '//  ' <"$scratch/err" | tr -s ' ')
            printf '{"database" : "%s", "object" : "%s", "problem" : "can'\''t be audited: %s", "remedy" : "%s"}\n' \
                "$database" "$database" "$reason" "run the provisioning task" >"$scratch/findings"
        fi
        number=$(wc -l <"$scratch/findings")
        total=$((total + number))
        printf '%s %s\n' "$database" "$number" >>"$scratch/numbers"
        if $json; then
            while read -r finding; do
                printf '%s%s' "$separator" "$finding"
                separator=",
 "
            done <"$scratch/findings"
        elif [ "$number" -eq 0 ]; then
            printf 'audit %s: no findings\n' "$database"
        else
            sed -e "s/^{\"database\" : \"[^\"]*\", \"object\" : \"/audit $database: /" \
                -e 's/", "problem" : "/: /; s/", "remedy" : "/: /; s/"}$//; s/\\"/"/g' "$scratch/findings"
        fi
    done
    if $json; then
        [ "$separator" != "[" ] || printf '['
        printf ']\n'
    fi
    step="record of the findings"
    while read -r database number; do
        query postgres --set database="$database" --set findings="$number" <<'SQL'
INSERT INTO tenants.last_audit VALUES (:'database', now(), :'findings')
ON CONFLICT (database) DO UPDATE SET ended_at = excluded.ended_at, findings = excluded.findings;
SQL
    done <"$scratch/numbers"
    [ "$total" -eq 0 ]
}

# --- export ---

# Standard input is one table's rows. export.sql has written what is known about them: file and number, and the entry of
# the manifest without its end.
receive() {
    read -r file number <"$scratch/entry"
    mkfifo "$scratch/hashed" "$scratch/counted"
    sha256sum <"$scratch/hashed" >"$scratch/sum" &
    wc -l <"$scratch/counted" >"$scratch/lines" &
    if [ "$directory" = - ]; then
        printf '==> %s <==\n' "$file"
        tee "$scratch/hashed" "$scratch/counted"
    else
        tee "$scratch/hashed" "$scratch/counted" >"$directory/$file"
    fi || printf '%s could not be written\n' "$file" >>"$scratch/failed"
    wait
    rm "$scratch/hashed" "$scratch/counted"
    read -r sum rest <"$scratch/sum"
    read -r lines <"$scratch/lines"
    [ "$lines" -eq "$number" ] || printf '%s: %s rows written, %s counted\n' "$file" "$lines" "$number" >>"$scratch/failed"
    printf '%s, "sha256" : "%s"}\n' "$(sed 1d "$scratch/entry")" "$sum" >>"$scratch/files"
}

# Print lines as the elements of a JSON array.
elements() {
    sed -e 's/^/  /' -e '$!s/$/,/' "$1"
}

export_tenant() {
    step="directory $directory"
    if [ "$directory" != - ]; then
        mkdir -p "$directory" || fail "it can't be created"
        [ -z "$(ls -A "$directory")" ] || fail "it isn't empty"
    fi
    check_examined
    : >"$scratch/files"
    : >"$scratch/others"
    : >"$scratch/snapshots"
    export TENANTS_SCRATCH="$scratch" TENANTS_PROGRAM="$0" TENANTS_DIRECTORY="$directory"
    for database in $databases; do
        step="export of $database"
        if [ "$directory" != - ]; then mkdir "$directory/$database"; fi
        as "$backup_role" "$database" --set tenant="$tenant" --set scratch="$scratch" --file "$here/export.sql" ||
            fail "$(cat "$scratch/err")"
        if [ -s "$scratch/failed" ]; then fail "$(cat "$scratch/failed")"; fi
        # psql doesn't report a failed program of \g.
        [ "$(cat "$scratch/sources")" -eq "$(grep -c "\"database\" : \"$database\"," "$scratch/files")" ] ||
            fail "a table is missing among the files"
    done
    find_unlisted_databases
    step="manifest"
    sed 's/.*/"&"/' "$scratch/out" >"$scratch/unlisted"
    {
        if [ "$directory" = - ]; then printf '==> manifest.json <==\n'; fi
        printf '{"tenant" : "%s",\n"snapshots" : [\n' "$tenant"
        elements "$scratch/snapshots"
        printf '],\n"files" : [\n'
        elements "$scratch/files"
        printf '],\n"tables_not_exported" : [\n'
        elements "$scratch/others"
        printf '],\n"databases_not_exported" : [\n'
        elements "$scratch/unlisted"
        printf ']}\n'
    } >"$scratch/manifest" || fail "it can't be written"
    if [ "$directory" = - ]; then
        cat "$scratch/manifest"
    else
        cat "$scratch/manifest" >"$directory/manifest.json" || fail "it can't be written"
    fi
}

# A table that may contain tenants' rows, but whose column can't be compared with the tenant, must not be left out
# silently.
check_examined() {
    for database in $databases; do
        step="tables of $database"
        query "$database" <<'SQL'
SELECT name FROM tenancy.other_sources() WHERE is_tenants;
SQL
        [ ! -s "$scratch/out" ] || fail "these may contain rows of the tenant, but have no column tenant_id of type uuid:
$(cat "$scratch/out")
Run the audit, correct what it finds, then run this again."
    done
}

# --- erase ---

# check_erasable DATABASE …
check_erasable() {
    for database in "$@"; do
        step="preparation of $database"
        check_password "$(migrator_of "$database")"
        as "$(migrator_of "$database")" "$database" >/dev/null </dev/null || fail "$(cat "$scratch/err")"
    done
}

# Refuse to delete what rows of other tenants refer to. check_references DATABASE
check_references() {
    step="references to the tenant in $1"
    query "$1" --set tenant="$tenant" <<'SQL'
SELECT name || ': ' || number || ' rows' FROM tenancy.references_from_others(:'tenant');
SQL
    [ ! -s "$scratch/out" ] || fail "rows of other tenants refer to rows of $tenant, and would be deleted or changed with them:
$(cat "$scratch/out")
Change these rows, and add tenant_id to the foreign keys (see the audit). Then run this again."
}

# record VERIFIED DATABASE …: when the tenant's last row was gone, or -
record() {
    step="record of the erasure"
    printf '%s %s %s\n' "$tenant" "$requested" "$1" >"$scratch/list"
    shift
    for database in "$@"; do record_list "$database"; done
}

# Add the lines `tenant requested verified` of $scratch/list to the list of erased tenants. record_list DATABASE
record_list() {
    sed "s/\([^ ]*\) \([^ ]*\) \(.*\)/SELECT tenancy.record_erasure('\1', '\2', nullif('\3', '-')::timestamptz);/" \
        "$scratch/list" >"$scratch/record.sql"
    query "$1" --single-transaction <"$scratch/record.sql"
}

# The second statement deletes what triggers and other transactions wrote during the first one.
delete_rows() {
    step="erasure in $1"
    as "$(migrator_of "$1")" "$1" --set tenant="$tenant" >"$scratch/deleted" <<'SQL' || fail "$(cat "$scratch/err")"
SELECT 'SET transaction_timeout = 0' WHERE current_setting('server_version_num')::int >= 170000 \gexec
BEGIN;
SET LOCAL app.tenant_id = :'tenant';
SELECT tenancy.erasure(:'tenant') \gexec
SELECT tenancy.erasure(:'tenant') \gexec
COMMIT;
SQL
    awk -v database="$1" '{
        number = $NF; sub(/ [0-9]+$/, "")
        if (!($0 in deleted)) names[++count] = $0
        deleted[$0] += number
    } END { for (i = 1; i <= count; i++) printf "database %s: %s: %d rows deleted\n", database, names[i], deleted[names[i]] }' \
        "$scratch/deleted"
}

verify() {
    step="verification of $1"
    query "$1" --set tenant="$tenant" --set wait_s="$wait_s" <<'SQL'
SELECT 'unfinished' WHERE NOT tenancy.await_writers(:wait_s);
SELECT name || ': ' || number || ' rows' FROM tenancy.count_rows(ARRAY[:'tenant'::uuid]) WHERE number > 0;
SQL
    case $(cat "$scratch/out") in
        '') ;;
        unfinished*) fail "a transaction that ran during the erasure hasn't ended within $wait_s s (TENANTS_WAIT_S), and may have
written rows of $tenant. Run this again when it has ended." ;;
        *) fail "rows of $tenant are left:
$(cat "$scratch/out")
They were written during the erasure, or a policy or a trigger of the service keeps them. Stop what writes for this
tenant, or correct the policy or trigger. Then run this again." ;;
    esac
}

now() {
    date -u +%Y-%m-%dT%H:%M:%SZ
}

count_rows() {
    check_examined
    for database in $databases; do
        step="rows in $database"
        query "$database" --set tenant="$tenant" <<'SQL'
SELECT format('database %s: %s: %s rows', current_database(), name, number)
FROM tenancy.count_rows(ARRAY[:'tenant'::uuid]) WHERE number > 0;
SQL
        tee -a "$scratch/rows" <"$scratch/out"
    done
    [ -s "$scratch/rows" ] || printf 'no database has a row of %s\n' "$tenant"
    printf 'Nothing has been changed. To erase the tenant: --confirm %s\n' "$tenant"
}

erase() {
    check_examined
    check_erasable $databases
    for database in $databases; do check_references "$database"; done
    requested=$(now)
    record - $databases
    # Also into the file, if there is one, before anything is deleted.
    list_erased
    require_erased_file
    for database in $databases; do delete_rows "$database"; done
    for database in $databases; do verify "$database"; done
    record "$(now)" $databases
    find_unlisted_databases
    sed 's/.*/database &: not examined, because it belongs to no service/' "$scratch/out"
    printf 'tenant %s: erased, no row is left in the databases:%s\n' "$tenant" "$databases"
    list_erased
    require_erased_file
}

# --- the list of erased tenants ---

# Collect lines `tenant requested verified` in $scratch/merged, sorted; `-` if not verified. A database without the table
# is older than it, or not provisioned. In the latter, a table of its owner is no list: the list applies to all databases.
list_erased() {
    step="list of erased tenants"
    if [ -n "$erased_file" ] && [ -e "$erased_file" ]; then
        cat "$erased_file" >"$scratch/erased" || fail "TENANTS_ERASED_FILE: $erased_file can't be read"
        if grep -Evxq '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12} [0-9TZ:-]+ (-|[0-9TZ:-]+)' "$scratch/erased"; then
            fail "TENANTS_ERASED_FILE: $erased_file has a line that isn't \"tenant requested verified\""
        fi
    else
        : >"$scratch/erased"
    fi
    query postgres <<'SQL'
SELECT datname FROM pg_database
WHERE datallowconn AND has_database_privilege(datname, 'CONNECT')
    AND datdba = to_regrole(quote_ident(regexp_replace(datname, '^(restoring|replaced_\d+)_', '') || '_owner'))
ORDER BY 1;
SQL
    for database in $(cat "$scratch/out"); do
        query "$database" <<'SQL'
SELECT $$SELECT tenant_id, to_char(requested_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    coalesce(to_char(verified_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '-') FROM tenancy.erased$$
FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE c.oid = to_regclass('tenancy.erased') AND r.rolsuper \gexec
SQL
        cat "$scratch/out" >>"$scratch/erased"
    done
    # The earliest time of each.
    sort "$scratch/erased" | awk '
        $1 != tenant { if (tenant) print tenant, requested, verified; tenant = $1; requested = $2; verified = $3; next }
        verified == "-" || ($3 != "-" && $3 < verified) { verified = $3 }
        END { if (tenant) print tenant, requested, verified }' >"$scratch/merged"
}

write_erased_file() {
    [ -z "$erased_file" ] || {
        cp "$scratch/merged" "$erased_file.new" && sync "$erased_file.new" && mv "$erased_file.new" "$erased_file"
    }
}

require_erased_file() {
    write_erased_file || fail "TENANTS_ERASED_FILE: $erased_file can't be written"
}

# Collect in `examined` the databases of the services, and others with the functions of the schema tenancy: a backup also
# contains databases that belong to no service, or no longer. find_examined DATABASE …
find_examined() {
    listed=" $databases "
    examined=""
    for database in "$@"; do
        step="functions of $database"
        query "$database" <<'SQL'
SELECT 1 FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
WHERE p.oid = to_regprocedure('tenancy.count_rows(uuid[])') AND r.rolsuper;
SQL
        case "$listed" in *" ${database#restoring_} "*) echo listed >>"$scratch/out" ;; esac
        if [ -s "$scratch/out" ]; then
            examined="$examined $database"
        else
            printf 'database %s: not examined, because it belongs to no service\n' "$database"
        fi
    done
}

# apply_erased DATABASE …
apply_erased() {
    list_erased
    # A restore from a full or read-only volume must be possible. The list is also in the databases.
    write_erased_file || printf '%s was not written; the next backup writes it\n' "$erased_file" >&2
    if [ ! -s "$scratch/merged" ]; then
        printf 'erased tenants: none\n'
        return 0
    fi
    find_examined "$@"
    set -- $examined
    databases=$examined
    check_examined
    cp "$scratch/merged" "$scratch/list"
    for database in "$@"; do
        step="record of the erasures"
        record_list "$database"
        step="erased tenants in $database"
        query "$database" --set tenants="{$(cut -d ' ' -f 1 "$scratch/merged" | paste -s -d , -)}" <<'SQL'
SELECT DISTINCT tenant FROM tenancy.count_rows(:'tenants') WHERE number > 0;
SQL
        found=$(cat "$scratch/out")
        [ -z "$found" ] || check_erasable "$database"
        for tenant in $found; do
            check_references "$database"
            delete_rows "$database" >"$scratch/report"
            sed "s/^/tenant $tenant: /" "$scratch/report"
            verify "$database"
        done
    done
    printf 'erased tenants: %s, no row of them is left in the databases: %s\n' "$(wc -l <"$scratch/merged")" "$*"
}

here=$(dirname "$0")
[ $# -gt 0 ] || usage
operation=$1
shift
if [ "$operation" = receive ]; then
    scratch=$TENANTS_SCRATCH directory=$TENANTS_DIRECTORY
    receive
    exit 0
fi

scratch=$(mktemp -d "${TMPDIR:-/tmp}/tenants.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PGAPPNAME=pti-tenants PGCONNECT_TIMEOUT="${PGCONNECT_TIMEOUT:-10}" PGCLIENTENCODING=UTF8
# A role or a database may have defaults that end a long statement or make it fail.
options="${PGOPTIONS:-} -c client_min_messages=warning -c statement_timeout=0 -c lock_timeout=1min"
options="$options -c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off"

case $operation in
    audit)
        json=false
        case "$*" in '') ;; --json) json=true ;; *) usage ;; esac
        begin
        audit
        ;;
    export)
        [ $# -eq 2 ] || usage
        directory=$2
        check_tenant "$1"
        begin
        export_tenant
        ;;
    erase)
        case "$# ${2:-}" in '1 ' | '3 --confirm') ;; *) usage ;; esac
        check_tenant "$1"
        [ $# -eq 1 ] || [ "$3" = "$1" ] || fail "--confirm doesn't repeat the tenant. Nothing has been changed."
        begin
        if [ $# -eq 3 ]; then erase; else count_rows; fi
        ;;
    erased)
        [ $# -eq 0 ] || usage
        begin
        list_erased
        require_erased_file
        cat "$scratch/merged"
        ;;
    apply-erased)
        begin
        [ $# -gt 0 ] || set -- $databases
        apply_erased "$@"
        ;;
    *) usage ;;
esac

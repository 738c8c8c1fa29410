#!/bin/sh
# Writes one backup of the platform's databases and of the server's roles into BACKUP_DIR, and deletes old ones.
#
#   sh /assets/backup.sh
#
# Needs psql, pg_dump, pg_dumpall and pg_restore, none older than the server, coreutils, flock, and a writable TMPDIR.
# common.sh describes the environment that all scripts share, and the files of a backup.
#
# Environment
#   BACKUP_DATABASES   names separated by spaces: databases that must exist. Every other database that belongs to a role
#                      <database>_owner is backed up too.
#   BACKUP_KEEP_COUNT  default 7: how many of the newest backups are kept in any case
#   BACKUP_KEEP_DAYS   default 30: backups up to this age are kept as well
#   BACKUP_WAIT_S      default 300: how long to wait for the server to accept connections
#   BACKUP_AS_OF       optional: the time that the rows are of, for a server that was recovered to it
#
# The run logs in as pti_backup, which reads every row and only writes to the table backups.last_success. Each database
# has a snapshot of its own. A backup gets its name when it is complete, verified and on the disk; only then are old
# backups deleted. So a run that fails, is killed or is cut off leaves nothing that looks like a backup, and the next
# run removes its remains.
#
# globals.sql is for a server that is rebuilt by hand: it has the roles that the provisioning task doesn't create, such
# as an operator's own, their memberships and defaults. restore.sh doesn't run it. provision.sh creates the platform's
# roles and sets their passwords, which no backup contains.
#
# Exit status: 0 if the backup is complete; 1 if not, with the reason on standard error; 130 and 143 on signals.
operation=backup
usage="sh backup.sh"
here=$(dirname "$0")
. "$here/common.sh"

keep_count=${BACKUP_KEEP_COUNT:-7}
keep_days=${BACKUP_KEEP_DAYS:-30}
wait_s=${BACKUP_WAIT_S:-300}

check_settings() {
    step=settings
    for setting in "BACKUP_KEEP_COUNT=$keep_count" "BACKUP_KEEP_DAYS=$keep_days" "BACKUP_WAIT_S=$wait_s"; do
        case ${setting#*=} in '' | *[!0-9]* | 0*) fail "${setting%=*}: \"${setting#*=}\" is not a number, at least 1" ;; esac
    done
}

check_versions() {
    step="connect to ${PGHOST:-the local socket} as $PGUSER"
    waited_s=0
    until answer=$(pg_isready --timeout=3 2>&1); do
        [ $waited_s -lt "$wait_s" ] || fail "$answer (waited $wait_s s: BACKUP_WAIT_S)"
        [ $waited_s -gt 0 ] || printf 'server: waiting up to %s s, %s\n' "$wait_s" "$answer"
        sleep 1
        waited_s=$((waited_s + 1))
    done
    run_psql --command "SELECT current_setting('server_version_num')::int / 10000, split_part(current_setting('server_version'), ' ', 1)"
    server=$(cut -d '|' -f 2 "$scratch/out")
    major=$(cut -d '|' -f 1 "$scratch/out")
    step=versions
    for tool in pg_dump pg_dumpall pg_restore; do
        tools=$($tool --version | sed 's/^[^0-9]*//; s/ .*//')
        [ "${tools%%[!0-9]*}" -ge "$major" ] ||
            fail "$tool $tools is older than the server ($server), and would leave out what it doesn't know"
    done
}

find_databases() {
    step=databases
    run_psql --set expected="${BACKUP_DATABASES:-}" <<'SQL'
SELECT format('missing %s', name) FROM unnest(string_to_array(:'expected', ' ')) AS name
WHERE name <> '' AND NOT EXISTS (SELECT FROM pg_database WHERE datname = name);
SELECT CASE WHEN datname = ANY (string_to_array(:'expected', ' ')) OR datdba = to_regrole(quote_ident(datname || '_owner'))
    THEN 'found' ELSE 'other' END || ' ' || datname
FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' AND datname !~ '^(replaced_\d+|restoring)_' ORDER BY 1;
SQL
    missing=$(sed -n 's/^missing //p' "$scratch/out" | tr '\n' ' ')
    [ -z "$missing" ] || fail "the server has no database ${missing% }: restore it, or run the provisioning task"
    databases=$(sed -n 's/^found //p' "$scratch/out")
    [ -n "$databases" ] || fail "the server has no database of the platform"
    for database in $databases; do
        case $database in *[!a-z0-9_]*) fail "\"$database\" is not a name: lower-case letters, digits and _ only" ;; esac
    done
    sed -n 's/^other \(.*\)/database \1: not of the platform, not backed up/p' "$scratch/out"
}

# An estimate, because the size of a compressed dump isn't known in advance. A volume that is full later fails the run.
check_space() {
    step="space in $directory"
    newest=$(newest_backup)
    [ -n "$newest" ] || return 0
    check_manifest "$newest"
    [ -z "$damage" ] || return 0
    bytes=$(manifest_value "$newest" bytes)
    free=$(df -Pk "$directory" | awk 'NR == 2 { printf "%d", $4 }')
    [ "$free" -ge $((bytes / 1024 * 11 / 10)) ] ||
        fail "$free KiB are free, and the backup $newest has $((bytes / 1024)) KiB: enlarge the volume or keep fewer backups"
}

# Size and checksum of a file of the new backup, as members of a JSON object.
describe() {
    sum=$(sha256sum "$new/$1")
    size=$(wc -c <"$new/$1")
    description=$(printf '"file": "%s", "bytes": %s, "sha256": "%s"' "$1" "$size" "${sum%% *}")
    bytes=$((bytes + size))
}

dump_database() {
    step="dump of $1"
    run_psql --dbname "$1" --set archive="$new/$1.dump" --set catalog="$new/$1.catalog" --file "$here/dump.sql"
    # psql doesn't report that this file couldn't be written.
    [ "$(tail -n 1 "$new/$1.catalog")" = end ] ||
        fail "$1.catalog is incomplete: $(df -Pk "$directory" | awk 'NR == 2 { print $4 }') KiB are free in $directory"
    # A warning of pg_dump, such as about an object that it leaves out.
    if [ -s "$scratch/err" ]; then cat "$scratch/err" >&2; fi
    # A recovered server shows the rows of an earlier time.
    if [ -n "${BACKUP_AS_OF:-}" ]; then sed -i "1s/.*/$BACKUP_AS_OF/" "$scratch/out"; fi
    mv "$scratch/out" "$scratch/rows.$1"
}

dump_roles() {
    step="dump of the roles"
    pg_dumpall --globals-only --no-role-passwords --no-password --file="$new/globals.sql" 2>"$scratch/err" ||
        fail "$(cat "$scratch/err")"
    # pg_dumpall doesn't notice that its file couldn't be written.
    grep -q '^-- PostgreSQL database cluster dump complete$' "$new/globals.sql" ||
        fail "globals.sql is incomplete: $(df -Pk "$directory" | awk 'NR == 2 { print $4 }') KiB are free in $directory"
    run_psql --file "$here/roles.sql"
    cp "$scratch/out" "$new/globals.catalog" 2>"$scratch/err" || fail "$(cat "$scratch/err")"
}

write_manifest() {
    step=manifest
    bytes=0
    describe globals.sql
    globals=$description
    separator=""
    for catalog in globals $databases; do
        describe "$catalog.catalog"
        printf '%s    {%s}' "$separator" "$description"
        separator=",
"
    done >"$scratch/catalogs"
    separator=""
    for database in $databases; do
        describe "$database.dump"
        printf '%s    {"name": "%s", %s, "time": "%s", "rows": {\n' "$separator" "$database" "$description" \
            "$(head -n 1 "$scratch/rows.$database")"
        sed '1d; s/^/      /; $!s/$/,/' "$scratch/rows.$database"
        printf '    }}'
        separator=",
"
    done >"$scratch/databases"
    {
        printf '{\n  "format": 1,\n  "time": "%s",\n' "$time"
        printf '  "sequence": %s,\n' "$sequence"
        printf '  "server": "%s",\n  "tools": "%s",\n  "bytes": %s,\n' "$server" "$tools" "$bytes"
        printf '  "globals": {%s},\n  "catalogs": [\n' "$globals"
        cat "$scratch/catalogs"
        printf '\n  ],\n  "databases": [\n'
        cat "$scratch/databases"
        printf '\n  ]\n}\n'
    } >"$scratch/manifest.json"
    (cd "$scratch" && sha256sum manifest.json >manifest.json.sha256)
    cp "$scratch/manifest.json" "$scratch/manifest.json.sha256" "$new" 2>"$scratch/err" || fail "$(cat "$scratch/err")"
}

publish() {
    step="verification"
    check_backup "${new##*/}"
    [ -z "$damage" ] || fail "$damage"
    step="write to the disk"
    sync "$new"/* "$new" || fail "the files couldn't be written to the disk"
    mv "$new" "$directory/$name"
    sync "$directory" || fail "$name couldn't be written to the disk"
}

# Record the success for the alerts (exporter_queries.yml).
record_success() {
    step="record of the success"
    for database in $databases; do
        run_psql --set database="$database" --set snapshot_at="$(head -n 1 "$scratch/rows.$database")" <<'SQL'
INSERT INTO backups.last_success VALUES (:'database', :'snapshot_at')
ON CONFLICT (database) DO UPDATE SET snapshot_at = excluded.snapshot_at;
SQL
    done
}

# Each backup that is neither among the newest sound ones nor young enough. Only complete backups have a name, and the one
# that has just been verified always stays.
delete_old() {
    step="deletion of old backups"
    oldest_kept=$(date -u -d "@$(($(date +%s) - keep_days * 86400))" +%Y%m%dT%H%M%SZ)
    newer=0
    for old in $(backup_names | tac); do
        if [ $newer -ge "$keep_count" ] && expr "$old" \< "$oldest_kept" >/dev/null && [ "$old" != "$name" ]; then
            # It loses its name first, so that an interrupted deletion doesn't leave half a backup.
            mv "$directory/$old" "$directory/incomplete.$old"
            rm -rf "$directory/incomplete.$old"
            printf 'backup %s: deleted, older than %s days\n' "$old" "$keep_days"
            continue
        fi
        check_sizes "$old"
        if [ -z "$damage" ]; then
            newer=$((newer + 1))
        else
            printf 'backup %s: damaged, and not counted: %s\n' "$old" "$damage"
        fi
    done
}

[ $# -eq 0 ] || refuse_usage "unknown argument: $1"
check_settings
step="directory $directory"
# Below the root of the volume, which may belong to root.
[ -d "$directory" ] || mkdir "$directory" 2>"$scratch/err" || fail "is its volume mounted? $(cat "$scratch/err")"
lock_directory
[ -w "$directory" ] || fail "BACKUP_DIR can't be written by the user $(id -u)"
rm -rf "$directory"/incomplete.*
log_in_as "${BACKUP_USER:-pti_backup}" "${BACKUP_PASSWORD_FILE:-/run/secrets/backup/password}"
check_versions
find_databases
check_space

step="start"
# The newest backup has the greatest number, whatever the clock is set to.
sequence=1
newest=$(newest_backup)
if [ -n "$newest" ]; then sequence=$(($(sequence_of "$newest") + 1)); fi
name=$(date -u +%Y%m%dT%H%M%SZ)
while [ -e "$directory/$name" ]; do
    sleep 1
    name=$(date -u +%Y%m%dT%H%M%SZ)
done
time=$(printf '%s' "$name" | sed 's/\(....\)\(..\)\(..T..\)\(..\)/\1-\2-\3:\4:/')
new=$directory/incomplete.$name
# A failed run doesn't leave the volume full.
trap 'rm -rf "$scratch" "$new"' EXIT
mkdir "$new"

for database in $databases; do dump_database "$database"; done
dump_roles
write_manifest
publish
printf 'backup %s: complete, %s bytes, databases: %s\n' "$name" "$bytes" "$(printf '%s' "$databases" | tr '\n' ' ')"
record_success
delete_old
step="list of erased tenants"
sh "$here/tenants.sh" erased >/dev/null || fail "the backup is complete, but a restore wouldn't know the erased tenants"

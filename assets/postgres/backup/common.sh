# Shared by backup.sh, backups.sh and restore.sh: the directory of the backups, its manifests, and connections.
#
# Environment
#   BACKUP_DIR             default /var/lib/backups: the directory of the backups, on a volume
#   PGHOST, PGPORT         the server; every other libpq variable is passed on unchanged
#   BACKUP_PASSWORD_FILE   default /run/secrets/backup/password: the password of the role BACKUP_USER (pti_backup)
#   ADMIN_PASSWORD_FILE    default /run/secrets/admin/password: the password of the superuser ADMIN_USER (postgres),
#                          which only a restore needs
#
# A backup is a directory whose name is the time of its start in UTC:
#   manifest.json         versions, and per database: file, size, SHA-256, time of its snapshot, rows of each table
#   manifest.json.sha256  the manifest's checksum, for sha256sum --check
#   globals.sql           the server's roles, without passwords
#   <database>.dump       one archive of pg_dump per database
#   *.catalog             the facts of catalog.sql and roles.sql, which the drill compares
# Every other name in BACKUP_DIR is ignored, except incomplete.*, the remains of a run that didn't succeed.
#
# The manifest has one value per line where a shell reads it, so that no JSON parser is needed.
set -eu
LC_ALL=C
export LC_ALL
umask 077

directory=${BACKUP_DIR:-/var/lib/backups}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/backup.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

export PGDATABASE=postgres PGAPPNAME="pti-$operation" PGCONNECT_TIMEOUT="${PGCONNECT_TIMEOUT:-10}"
# search_path: a role that may create objects in a service's database must not be able to make another role run its
# functions. The others: a database or a role may have defaults that end a long dump or make a restore fail. The session
# that exports a snapshot is idle while pg_dump runs.
PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning -c search_path=pg_catalog,pg_temp -c statement_timeout=0"
export PGOPTIONS="$PGOPTIONS -c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off"

fail() {
    printf '%s failed at: %s\n%s\n' "$operation" "$step" "$1" >&2
    exit 1
}

refuse_usage() {
    step=arguments
    fail "$1
usage: $usage"
}

# log_in_as ROLE PASSWORD_FILE
log_in_as() {
    if ! [ -f "$2" ] || ! [ -r "$2" ]; then fail "$2 can't be read: it contains the password of $1"; fi
    PGUSER=$1
    PGPASSWORD=$(cat "$2")
    export PGUSER PGPASSWORD
}

# Standard output is collected in $scratch/out.
run_psql() {
    psql --no-psqlrc --quiet --no-align --tuples-only --no-password --set ON_ERROR_STOP=1 "$@" \
        >"$scratch/out" 2>"$scratch/err" || fail "$(cat "$scratch/err")"
}

check_directory() {
    step="directory $directory"
    [ -d "$directory" ] || fail "BACKUP_DIR is not a directory: is its volume mounted?"
    if ! [ -r "$directory" ] || ! [ -x "$directory" ]; then fail "BACKUP_DIR can't be read"; fi
}

# The lock ends with the last process that has the directory open, which may be a tool that outlives this shell.
lock_directory() {
    check_directory
    exec 9<"$directory"
    flock -n 9 || fail "another backup or restore is running: try again when it has ended"
}

is_backup_name() {
    case $1 in
        [0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]T[0-9][0-9][0-9][0-9][0-9][0-9]Z) ;;
        *) return 1 ;;
    esac
}

# Names of the backups, the oldest first: in the order in which they were taken, because the clock may have been set back.
backup_names() {
    for path in "$directory"/*Z; do
        if [ -d "$path" ] && is_backup_name "${path##*/}"; then
            printf '%s %s\n' "$(sequence_of "${path##*/}")" "${path##*/}"
        fi
    done | sort -k 1,1n -k 2,2 | cut -d ' ' -f 2
}

# The number of the backup, 0 if its manifest has none.
sequence_of() {
    sequence_found=""
    if [ -f "$directory/$1/manifest.json" ]; then
        sequence_found=$(manifest_value "$1" sequence | sed -n '1s/^\([0-9]\{1,9\}\)$/\1/p')
    fi
    printf '%s' "${sequence_found:-0}"
}

newest_backup() {
    backup_names | tail -n 1
}

# manifest_value BACKUP KEY
manifest_value() {
    sed -n "s/^  \"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\$/\1/p" "$directory/$1/manifest.json"
}

backed_up_databases() {
    sed -n 's/^    {"name": "\([^"]*\)".*/\1/p' "$directory/$1/manifest.json"
}

# Files with the facts that the drill compares; none in a backup of an earlier release.
catalogs() {
    sed -n 's/^    {"file": "\([^"]*\.catalog\)".*/\1/p' "$directory/$1/manifest.json"
}

# snapshot_time BACKUP DATABASE
snapshot_time() {
    sed -n "s/^    {\"name\": \"$2\".* \"time\": \"\([^\"]*\)\".*/\1/p" "$directory/$1/manifest.json"
}

# Lines `"schema.table": rows`, as rows.sql prints them. backed_up_rows BACKUP DATABASE
backed_up_rows() {
    sed -n "/^    {\"name\": \"$2\"/,/^    }}/ { /^      / { s/^      //; s/,\$//; p } }" "$directory/$1/manifest.json"
}

# Set `damage` to what is wrong with the manifest, or to nothing.
check_manifest() {
    damage=""
    if ! [ -f "$directory/$1/manifest.json" ] || ! [ -f "$directory/$1/manifest.json.sha256" ]; then
        damage="its manifest is missing"
    elif ! (cd "$directory/$1" && sha256sum -c manifest.json.sha256 >/dev/null 2>&1); then
        damage="its manifest is damaged"
    elif [ "$(tail -n 1 "$directory/$1/manifest.json")" != "}" ]; then
        damage="its manifest is incomplete"
    elif [ "$(manifest_value "$1" format)" != 1 ]; then
        damage="its manifest has the format $(manifest_value "$1" format), and this program reads format 1"
    fi
}

# Set `damage` to what is wrong with the backup's manifest, or to the first file that is missing or has another size.
check_sizes() {
    check_manifest "$1"
    [ -z "$damage" ] || return 0
    sed -n 's/.*"file": "\([^"]*\)", "bytes": \([0-9]*\),.*/\1 \2/p' "$directory/$1/manifest.json" >"$scratch/sizes"
    while read -r file bytes_wanted; do
        if ! [ -f "$directory/$1/$file" ]; then
            damage="$file is missing"
        elif [ "$(wc -c <"$directory/$1/$file")" -ne "$bytes_wanted" ]; then
            damage="$file doesn't have the size of the manifest"
        fi
        [ -z "$damage" ] || return 0
    done <"$scratch/sizes"
}

# Set `damage` to what is wrong with these files of the backup, or to nothing. check_files BACKUP FILE …
check_files() {
    check_manifest "$1"
    [ -z "$damage" ] || return 0
    backup=$1
    shift
    for file in "$@"; do
        path=$directory/$backup/$file
        wanted=$(sed -n "s/.*\"file\": \"$file\".* \"sha256\": \"\([0-9a-f]*\)\".*/\1/p" "$directory/$backup/manifest.json")
        if ! [ -f "$path" ]; then
            damage="$file is missing"
        elif [ -z "$wanted" ] || ! printf '%s  %s\n' "$wanted" "$path" | sha256sum -c >/dev/null 2>&1; then
            damage="$file doesn't have the SHA-256 of the manifest"
        else
            case $file in
                # Reads the whole archive; --list would only read its table of contents.
                *.dump) pg_restore --file=/dev/null "$path" 2>"$scratch/err" ||
                    damage="$file can't be read: $(cat "$scratch/err")" ;;
            esac
        fi
        [ -z "$damage" ] || return 0
    done
}

# check_backup BACKUP
check_backup() {
    check_manifest "$1"
    [ -z "$damage" ] || return 0
    files="globals.sql $(catalogs "$1" | tr '\n' ' ')"
    for database in $(backed_up_databases "$1"); do files="$files $database.dump"; done
    check_files "$1" $files
}

#!/bin/sh
# Begins an upgrade of this server to another major version, or ends one. Runs in the server's container.
#
#   sh upgrade.sh status           print one line: idle, requested, dumped, or failed, and details
#   sh upgrade.sh request MAJOR    restart the server, which then dumps its data onto its volume and serves no longer
#   sh upgrade.sh cancel           let the server serve again; nothing is lost
#   sh upgrade.sh old              print the major versions whose data was replaced, one per line
#   sh upgrade.sh delete-old       delete that data
#
# After the dump the server waits for an image of the new version. It starts on the same volume, with
# POSTGRES_PREVIOUS_MAJOR, restores the dump into a data directory of its own, compares it, and deletes the dump
# (upgrade_steps.sh). The old data directory stays until `delete-old`: until then, the old image serves it again.
#
# Exit status: 0, or 1 with the reason on standard error.
set -eu
LC_ALL=C
export LC_ALL
volume=$(dirname "$(dirname "$PGDATA")")
upgrade=$volume/upgrade
current=$(sed -n 's/^postgres major=//p' "$volume/.pti-calendar-data" 2>/dev/null || :)

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

query() {
    psql --no-psqlrc --quiet --no-align --tuples-only --username postgres --dbname postgres --set ON_ERROR_STOP=1 --command "$1"
}

old_versions() {
    for path in "$volume"/*/docker; do
        version=$(basename "$(dirname "$path")")
        if [ -d "$path" ] && [ "$version" != "$current" ]; then printf '%s\n' "$version"; fi
    done
}

status() {
    if [ -d "$upgrade/dump" ] && [ -s "$upgrade/request" ]; then
        echo "dumped $(cat "$upgrade/request")"
    elif [ -s "$upgrade/request" ]; then
        echo "requested $(cat "$upgrade/request"): $(cat "$upgrade/progress" 2>/dev/null || echo "the server restarts")"
    elif [ -s "$upgrade/failure" ]; then
        echo "failed: $(tr '\n' ' ' <"$upgrade/failure")"
    else
        echo "idle"
    fi
}

# What a dump would leave out, or couldn't be restored.
obstacles() {
    query "
        SELECT format('database %I accepts no connections, so it can''t be dumped: allow them, or drop it', datname)
        FROM pg_database WHERE datname <> 'template0' AND (NOT datallowconn OR datconnlimit = -2)
        UNION ALL SELECT format('tablespace %I is outside of the data directory: move its tables to pg_default', spcname)
        FROM pg_tablespace WHERE spcname !~ '^pg_'
        UNION ALL SELECT format('the prepared transaction %L isn''t finished: COMMIT PREPARED, or ROLLBACK PREPARED', gid)
        FROM pg_prepared_xacts"
}

request() {
    case $1 in '' | *[!0-9]*) fail "not a major version: \"$1\"" ;; esac
    [ -n "$current" ] || fail "the volume has no marker: start the server once with this release"
    [ "$1" -gt "$current" ] || fail "the data is of PostgreSQL $current, and an upgrade can't go to PostgreSQL $1"
    [ ! -s "$upgrade/request" ] || fail "an upgrade is in progress: $(status)"
    [ ! -e "$volume/$1/docker" ] ||
        fail "the volume contains data of PostgreSQL $1, of an upgrade that was undone. Delete it first: upgrade postgres --delete-old"
    found=$(obstacles)
    [ -z "$found" ] || fail "$found"
    kib=$(query "SELECT sum(pg_database_size(oid))::bigint / 1024 * 3 / 2 + 204800 FROM pg_database")
    free=$(df -Pk "$volume" | awk 'NR == 2 { printf "%d", $4 }')
    [ "$free" -ge "$kib" ] ||
        fail "the volume has $free KiB free, and the dump and the new data need about $kib KiB: enlarge it (postgres.storageGib)"
    rm -rf "$upgrade"
    mkdir "$upgrade"
    printf '%s\n' "$1" >"$upgrade/request.new"
    mv "$upgrade/request.new" "$upgrade/request"
    sync -f "$upgrade"
    status
    # The restart ends all sessions, and this container. The caller first gets the answer.
    pid=$(head -n 1 "$PGDATA/postmaster.pid")
    (sleep 1 && kill -INT "$pid") </dev/null >/dev/null 2>&1 &
}

delete_old() {
    [ ! -s "$upgrade/request" ] || fail "an upgrade is in progress: $(status)"
    for version in $(old_versions); do
        rm -rf "${volume:?}/$version"
        echo "data of PostgreSQL $version: deleted"
    done
}

case ${1:-} in
    status) status ;;
    request) request "${2:-}" ;;
    cancel) rm -f "$upgrade/request" && status ;;
    old) old_versions ;;
    delete-old) delete_old ;;
    *) fail "usage: sh upgrade.sh status | request MAJOR | cancel | old | delete-old" ;;
esac

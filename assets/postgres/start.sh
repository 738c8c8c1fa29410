#!/bin/sh
# Starts PostgreSQL on a volume that may already contain data.
#
#   sh start.sh postgres [-c setting=value …]
#
# Environment
#   PGDATA                  <volume>/<major version>/docker
#   PGHOST                  directory of the Unix socket
#   POSTGRES_PASSWORD_FILE  the superuser's password
#   POSTGRES_INITDB_ARGS    options of initdb, with the shell's quoting
#   POSTGRES_PREVIOUS_MAJOR the major version whose data may be replaced, in an upgrade or on the way back; or empty
#
# - On an empty volume, a cluster is created in a temporary directory and renamed, so that a killed start leaves no
#   incomplete one. The image's own entry point would start such a cluster (docker-library/postgres#975).
# - The file `.pti-calendar-data` marks a volume that contains data. If the data directory is missing there, the start
#   is refused: an empty cluster in its place would look as if every row had been lost.
# - Data of another major version is refused for the same reason, unless POSTGRES_PREVIOUS_MAJOR names it: upgrade.sh
#   describes how its data is taken over.
# - At every start, the superuser's password is set to the one in the file, because a volume may outlive the Pulumi
#   state that contains its password. Until then the server runs without TCP, so its recovery is complete before
#   clients can connect.
set -eu
LC_ALL=C
export LC_ALL
here=$(dirname "$0")

version_directory=$(dirname "$PGDATA")
volume=$(dirname "$version_directory")
marker=$volume/.pti-calendar-data
major=$(basename "$version_directory")
layout="postgres major=$major"

refuse() {
    printf '%s\n' "$@" >&2
    exit 1
}

refuse_version() {
    refuse "this volume contains data of PostgreSQL $1, but this image has another version. Nothing was changed." \
        "Set an image of that version (pti-calendar:postgres.image). To upgrade: docs/store-upgrades.md"
}

refuse_another_version() {
    for other in "$volume"/*/docker/PG_VERSION "$volume/data/PG_VERSION"; do
        if [ -e "$other" ]; then refuse_version "$(cat "$other")"; fi
    done
}

refuse_missing_data() {
    if [ -e "$marker" ]; then
        refuse "this volume contained data ($(cat "$marker")), but $PGDATA is missing or empty. No empty cluster was created." \
            "Restore the directory, from a backup if necessary. To start with an empty cluster, delete $marker."
    fi
    if [ -d "$PGDATA" ] && [ -n "$(ls -A "$PGDATA")" ]; then
        refuse "$PGDATA contains files but no cluster: PG_VERSION is missing. Nothing has been changed." \
            "Restore a backup to it. To start with an empty cluster, delete the directory."
    fi
}

# Create a cluster in $PGDATA.new.
create_cluster() {
    new=$PGDATA.new
    rm -rf "$new"
    mkdir -p "$version_directory"
    eval "initdb -D \"\$new\" -U postgres --pwfile=\"\$POSTGRES_PASSWORD_FILE\" ${POSTGRES_INITDB_ARGS:-}"
    printf '\nhost all all all scram-sha-256\n' >>"$new/pg_hba.conf"
}

# Give it its name.
publish_cluster() {
    if [ -d "$PGDATA" ]; then rmdir "$PGDATA"; fi
    mv "$new" "$PGDATA"
    sync -f "$PGDATA"
}

# `all` doesn't include replication. Also for data of a former release.
allow_replication() {
    rule="host replication pti_archive all scram-sha-256"
    grep -qxF "$rule" "$PGDATA/pg_hba.conf" || printf '%s\n' "$rule" >>"$PGDATA/pg_hba.conf"
}

# Start a server that only this script reaches. The arguments are its command.
start_closed() {
    printf 'local all all trust\n' >"$PGHOST/start_hba.conf"
    "$@" -c listen_addresses= -c hba_file="$PGHOST/start_hba.conf" -c unix_socket_permissions=0700 \
        -c log_statement=none -c log_min_error_statement=panic -c log_min_duration_statement=-1 &
    server=$!
    trap 'kill -INT "$server" 2>/dev/null; wait "$server"; exit 143' TERM INT
    until psql --no-psqlrc --quiet --username postgres --dbname template1 --command '' 2>/dev/null; do
        if ! kill -0 "$server" 2>/dev/null; then
            refuse "PostgreSQL can't open $PGDATA; see the lines above."
        fi
        sleep 0.1
    done
}

stop_closed() {
    kill -INT "$server"
    stopped=0
    wait "$server" || stopped=$?
    trap - TERM INT
    return $stopped
}

# The password is passed on standard input, because process lists show arguments.
set_password() {
    start_closed "$@"
    sed -e "s/'/''/g" -e "1s/^/ALTER ROLE postgres PASSWORD '/" -e "\$s/\$/';/" "$POSTGRES_PASSWORD_FILE" |
        psql --no-psqlrc --quiet --username postgres --dbname postgres --set ON_ERROR_STOP=1 \
            --command "SET password_encryption = 'scram-sha-256'" --file - ||
        echo "the superuser's password wasn't changed; see the lines above" >&2
    stop_closed || echo "the server didn't shut down cleanly; it recovers during the start that follows" >&2
}

# Written last and renamed, so that the marker is complete and only exists with the data.
mark() {
    printf '%s\n' "$layout" >"$marker.new"
    mv "$marker.new" "$marker"
    sync -f "$marker"
}

# shellcheck source=upgrade_steps.sh
. "$here/upgrade_steps.sh"

marked=$(sed -n 's/^postgres major=//p' "$marker" 2>/dev/null || :)
if [ -n "$marked" ] && [ "$marked" != "$major" ]; then
    change_version "$@"
else
    end_undone_upgrade
fi
if [ -s "$PGDATA/PG_VERSION" ]; then
    # A kubelet that sets the volume's group also makes the data directory accessible to it, which PostgreSQL refuses.
    chmod 700 "$PGDATA"
    if upgrade_is_requested; then prepare_upgrade "$@"; fi
    set_password "$@"
else
    refuse_another_version
    refuse_missing_data
    create_cluster
    publish_cluster
fi
allow_replication
if [ "$(cat "$marker" 2>/dev/null)" != "$layout" ]; then mark; fi
exec "$@"

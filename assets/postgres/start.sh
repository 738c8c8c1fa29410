#!/bin/sh
# Starts PostgreSQL on a volume that may already hold data.
#
#   sh start.sh postgres [-c setting=value …]
#
# Environment
#   PGDATA                  <volume>/<major version>/docker
#   PGHOST                  directory of the Unix socket
#   POSTGRES_PASSWORD_FILE  the superuser's password
#   POSTGRES_INITDB_ARGS    options of initdb, with the shell's quoting
#
# - An empty volume gets a cluster, made beside its place and renamed: a killed start leaves no half of one. The image's
#   own entry point takes such a half for a cluster (docker-library/postgres#975).
# - The file `.pti-calendar-data` on the volume says that it holds data. A data directory that is missing there is
#   refused: an empty cluster in its place would look as if every row had been lost.
# - Data of another major version is refused for the same reason.
# - The superuser's password is set to the one in the file at every start. A volume outlives the state that knew its
#   password; whoever runs the stack then still gets in. The server runs without TCP meanwhile, and has recovered
#   before anybody reaches it.
set -eu
LC_ALL=C
export LC_ALL

version_directory=$(dirname "$PGDATA")
volume=$(dirname "$version_directory")
marker=$volume/.pti-calendar-data
layout="postgres major=$(basename "$version_directory")"

refuse() {
    printf '%s\n' "$@" >&2
    exit 1
}

refuse_another_version() {
    for other in "$volume"/*/docker/PG_VERSION "$volume/data/PG_VERSION"; do
        if [ -e "$other" ]; then
            refuse "this volume holds data of PostgreSQL $(cat "$other"), and this image is of another version." \
                "Go back to an image of that version (pti-calendar:postgres.image), dump the databases, then change it."
        fi
    done
}

refuse_missing_data() {
    if [ -e "$marker" ]; then
        refuse "this volume held data ($(cat "$marker")), and $PGDATA holds none: no empty cluster takes its place." \
            "Bring the directory back, or restore a backup to it. To begin empty on purpose, delete $marker."
    fi
    if [ -d "$PGDATA" ] && [ -n "$(ls -A "$PGDATA")" ]; then
        refuse "$PGDATA holds files, but no cluster: PG_VERSION is missing. Nothing has been changed." \
            "Restore a backup to it. To begin empty on purpose, delete the directory."
    fi
}

initialise() {
    new=$PGDATA.new
    rm -rf "$new"
    mkdir -p "$version_directory"
    eval "initdb -D \"\$new\" -U postgres --pwfile=\"\$POSTGRES_PASSWORD_FILE\" ${POSTGRES_INITDB_ARGS:-}"
    printf '\nhost all all all scram-sha-256\n' >>"$new/pg_hba.conf"
    if [ -d "$PGDATA" ]; then rmdir "$PGDATA"; fi
    mv "$new" "$PGDATA"
    sync
}

# The arguments are the server's. Standard input carries the password, not an argument: a process list shows arguments.
set_password() {
    printf 'local all all trust\n' >"$PGHOST/start_hba.conf"
    "$@" -c listen_addresses= -c hba_file="$PGHOST/start_hba.conf" -c unix_socket_permissions=0700 \
        -c log_statement=none -c log_min_error_statement=panic -c log_min_duration_statement=-1 &
    server=$!
    trap 'kill -INT "$server" 2>/dev/null; wait "$server"; exit 143' TERM INT
    until psql --no-psqlrc --quiet --username postgres --dbname postgres --command '' 2>/dev/null; do
        if ! kill -0 "$server" 2>/dev/null; then
            refuse "PostgreSQL can't open $PGDATA; the lines above say why."
        fi
        sleep 0.1
    done
    sed -e "s/'/''/g" -e "1s/^/ALTER ROLE postgres PASSWORD '/" -e "\$s/\$/';/" "$POSTGRES_PASSWORD_FILE" |
        psql --no-psqlrc --quiet --username postgres --dbname postgres --set ON_ERROR_STOP=1 \
            --command "SET password_encryption = 'scram-sha-256'" --file - ||
        echo "the superuser keeps the password it had; the lines above say why" >&2
    kill -INT "$server"
    wait "$server" || echo "the server didn't stop well; it recovers at the next start, which is now" >&2
    trap - TERM INT
}

# Last, and by rename: a marker is whole and stands for data that is there.
mark() {
    printf '%s\n' "$layout" >"$marker.new"
    mv "$marker.new" "$marker"
    sync
}

if [ -s "$PGDATA/PG_VERSION" ]; then
    # A kubelet that hands the volume to a group opens the directory to it, and PostgreSQL refuses one that is open.
    chmod 700 "$PGDATA"
    set_password "$@"
else
    refuse_another_version
    refuse_missing_data
    initialise
fi
if [ "$(cat "$marker" 2>/dev/null)" != "$layout" ]; then mark; fi
exec "$@"

#!/bin/sh
# Starts PostgreSQL on a volume that may already hold data.
#
#   sh start.sh postgres [-c setting=value …]
#
# Environment: PGDATA, POSTGRES_PASSWORD_FILE, and what the image's own entry point reads.
#
# - Data of another major version is refused: the server would begin an empty cluster beside it, and every service
#   would seem to have lost its rows.
# - The superuser's password is set to the one in the file at every start. A volume outlives the state that knew its
#   password; whoever runs the stack then still gets in.
set -eu

version_directory=$(dirname "$PGDATA")
for other in "$(dirname "$version_directory")"/*/docker/PG_VERSION "$(dirname "$version_directory")"/data/PG_VERSION; do
    if [ -e "$other" ] && [ "$other" != "$PGDATA/PG_VERSION" ] && [ ! -e "$PGDATA/PG_VERSION" ]; then
        echo "this volume holds data of PostgreSQL $(cat "$other"), and this image is of another version." >&2
        echo "Go back to an image of that version (pti-calendar:postgres.image), dump the databases, then change it." >&2
        exit 1
    fi
done

if [ -s "$PGDATA/PG_VERSION" ]; then
    # Standard input, not an argument: a process list shows arguments. The log shows no statement.
    if ! sed -e "s/'/''/g" -e "1s/^/ALTER ROLE postgres PASSWORD '/" -e "\$s/\$/'/" "$POSTGRES_PASSWORD_FILE" |
        postgres --single -D "$PGDATA" -c log_min_messages=fatal -c log_min_error_statement=panic \
            -c log_statement=none -c password_encryption=scram-sha-256 postgres >/dev/null; then
        echo "the data directory $PGDATA can't be opened; the lines above say why" >&2
        exit 1
    fi
fi

exec docker-entrypoint.sh "$@"

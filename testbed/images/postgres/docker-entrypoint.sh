#!/bin/bash
# The first start creates the cluster and the database, runs /docker-entrypoint-initdb.d, then serves. Later starts only
# serve.
set -euo pipefail

# Read VARIABLE, or the file that VARIABLE_FILE names, as Docker secrets need.
from_file() {
  local name=$1 default=${2-} file_name=$1_FILE
  if [[ -n ${!name-} && -n ${!file_name-} ]]; then
    echo "error: both $name and $file_name are set (but are exclusive)" >&2
    exit 1
  fi
  local value=${!name-$default}
  if [[ -n ${!file_name-} ]]; then
    value=$(<"${!file_name}")
  fi
  export "$name=${value:-$default}"
  unset "$file_name"
}

run_sql() {
  PGHOST=/var/run/postgresql psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$POSTGRES_USER" "$@"
}

initialise() {
  if [[ -z $POSTGRES_PASSWORD && ${POSTGRES_HOST_AUTH_METHOD-} != trust ]]; then
    echo "Error: Database is uninitialized and superuser password is not specified." >&2
    echo "       Set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE to a non-empty value." >&2
    exit 1
  fi
  if mountpoint -q /var/lib/postgresql/data; then
    echo "Error: in 18+, mount the volume at /var/lib/postgresql: one at /var/lib/postgresql/data is not used." >&2
    exit 1
  fi
  # As in the official image, connections through the socket and 127.0.0.1 are trusted; others must authenticate.
  local -a extra=()
  eval "extra=(${POSTGRES_INITDB_ARGS-})" # Parse options with shell quoting, as the official image does.
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${extra[@]}"
  printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"

  # The set-up server uses the same options but only listens on the socket, so that no client connects to an incomplete
  # database.
  export PGPASSWORD=$POSTGRES_PASSWORD
  pg_ctl -D "$PGDATA" -w -o "$(printf '%q ' "$@" -c listen_addresses= -p 5432)" start
  if [[ -z $(run_sql -d postgres -At -v db="$POSTGRES_DB" <<<"SELECT 1 FROM pg_database WHERE datname = :'db'") ]]; then
    run_sql -d postgres -v db="$POSTGRES_DB" <<<'CREATE DATABASE :"db"'
  fi
  local script
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
      *.sh) if [[ -x $script ]]; then "$script"; else . "$script"; fi ;;
      *.sql) run_sql -d "$POSTGRES_DB" -f "$script" ;;
      *.sql.gz) gunzip -c "$script" | run_sql -d "$POSTGRES_DB" ;;
    esac
  done
  pg_ctl -D "$PGDATA" -m fast -w stop
  unset PGPASSWORD
  echo "PostgreSQL init process complete; ready for start up."
}

[[ ${1-} == -* ]] && set -- postgres "$@"
if [[ ${1-} != postgres || " $* " =~ \ (-V|--version|--help|--describe-config)\  ]]; then
  exec "$@"
fi
# In these binaries the default socket directory is /tmp; in the official image's it is /var/run/postgresql.
set -- postgres -c unix_socket_directories=/var/run/postgresql "${@:2}"
mkdir -p "$PGDATA"
chmod 700 "$PGDATA" || true
if ((EUID == 0)); then
  find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres {} +
  exec gosu postgres "$0" "$@"
fi
from_file POSTGRES_PASSWORD
from_file POSTGRES_USER postgres
from_file POSTGRES_DB "$POSTGRES_USER"
if [[ -s $PGDATA/PG_VERSION ]]; then
  echo "PostgreSQL Database directory appears to contain a database; Skipping initialization"
else
  shopt -s nullglob
  initialise "${@:2}"
fi
exec "$@"

#!/bin/bash
# The first start creates the user with its servers, preferences and passwords; every start serves with gunicorn. The
# variables are those of the official image. As in the official image, errors don't stop the script: there is no
# `set -e`.
set -u

data=/var/lib/pgadmin
python=/venv/bin/python3

# Read VARIABLE, or the file that VARIABLE_FILE names, as Docker secrets need.
from_file() {
  local name=$1 file_name=$1_FILE
  if [[ -n ${!name-} && -n ${!file_name-} ]]; then
    echo "error: both $name and $file_name are set (but are exclusive)" >&2
    exit 1
  fi
  if [[ -n ${!file_name-} ]]; then
    if [[ ! -r ${!file_name} ]]; then
      echo "error: $file_name is set to \"${!file_name}\" but the file does not exist or is not readable" >&2
      exit 1
    fi
    export "$name=$(<"${!file_name}")"
  fi
  unset "$file_name"
}

# PGADMIN_CONFIG_X=value becomes `X = value`, unless the file was provided. The file is in the image: with a read-only
# root, the variables have no effect unless PGADMIN_CUSTOM_CONFIG_DISTRO_FILE names a writable path.
write_config() {
  export CONFIG_DISTRO_FILE_PATH=${PGADMIN_CUSTOM_CONFIG_DISTRO_FILE:-/pgadmin4/config_distro.py}
  if [[ -s $CONFIG_DISTRO_FILE_PATH ]]; then
    return
  fi
  local name value
  {
    echo "CA_FILE = '/etc/ssl/certs/ca-certificates.crt'"
    echo "LOG_FILE = '/dev/null'"
    for name in "${!PGADMIN_CONFIG_@}"; do
      value=${!name}
      case ${value,,} in
        true) value=True ;;
        false) value=False ;;
      esac
      echo "${name#PGADMIN_CONFIG_} = $value"
    done
  } >"$CONFIG_DISTRO_FILE_PATH"
}

check_email() {
  (
    cd /pgadmin4/pgadmin/utils && "$python" - "$PGADMIN_DEFAULT_EMAIL" <<'PYTHON'
import ast
import os
import sys

from validation_utils import validate_email

names = {"CHECK_EMAIL_DELIVERABILITY": "False", "ALLOW_SPECIAL_EMAIL_DOMAINS": "[]", "GLOBALLY_DELIVERABLE": "True"}
config = {name: ast.literal_eval(os.environ.get(f"PGADMIN_CONFIG_{name}", default)) for name, default in names.items()}
if not validate_email(sys.argv[1], config):
    sys.exit(f"'{sys.argv[1]}' does not appear to be a valid email address. Please reset PGADMIN_DEFAULT_EMAIL.")
PYTHON
  )
}

load_servers() {
  local file=${PGADMIN_SERVER_JSON_FILE:-/pgadmin4/servers.json}
  local options=(--user "$PGADMIN_DEFAULT_EMAIL")
  [[ ${PGADMIN_REPLACE_SERVERS_ON_STARTUP-} == True ]] && options+=(--replace)
  [[ -f $file ]] && "$python" setup.py load-servers "$file" "${options[@]}"
}

first_start() {
  if [[ -z ${PGADMIN_DEFAULT_EMAIL-} || -z ${PGADMIN_DEFAULT_PASSWORD-} ]]; then
    echo "You need to define the PGADMIN_DEFAULT_EMAIL and PGADMIN_DEFAULT_PASSWORD or" \
      "PGADMIN_DEFAULT_PASSWORD_FILE environment variables." >&2
    exit 1
  fi
  check_email || exit 1
  PGADMIN_SETUP_EMAIL=$PGADMIN_DEFAULT_EMAIL PGADMIN_SETUP_PASSWORD=$PGADMIN_DEFAULT_PASSWORD "$python" run_pgadmin.py
  load_servers

  local preferences=${PGADMIN_PREFERENCES_JSON_FILE:-/pgadmin4/preferences.json}
  [[ -f $preferences ]] && "$python" setup.py set-prefs "$PGADMIN_DEFAULT_EMAIL" --input-file "$preferences"

  # pgAdmin looks for a server's "PassFile" in the user's own storage, and libpq refuses one that others may read.
  if [[ -f ${PGPASS_FILE-} ]]; then
    local storage=$data/storage/${PGADMIN_DEFAULT_EMAIL//@/_}
    mkdir -p "$storage"
    install -m 600 "$PGPASS_FILE" "$storage/.pgpass"
  fi
}

# Without capabilities the official image can't bind port 80, and prints an error.
default_port() {
  if grep -q '^NoNewPrivs:[[:space:]]*1' /proc/self/status; then
    echo "Restricted security context detected; defaulting PGADMIN_LISTEN_PORT to 8080." >&2
    echo 8080
  else
    echo 80
  fi
}

if ((EUID == 0)); then
  chown -R pgadmin:root /run/pgadmin "$data" /pgadmin4/config_distro.py
  exec gosu pgadmin "$0" "$@"
fi
cd /pgadmin4 || exit 1
from_file PGADMIN_DEFAULT_PASSWORD
write_config
if [[ ! -f $data/pgadmin4.db ]]; then
  first_start
elif [[ ${PGADMIN_REPLACE_SERVERS_ON_STARTUP-} == True ]]; then
  load_servers
fi
# pgAdmin keeps its sessions in one process: it may have several threads but only one worker.
exec "$python" -m gunicorn --workers 1 --threads "${GUNICORN_THREADS:-25}" --timeout 86400 \
  --bind "${PGADMIN_LISTEN_ADDRESS:-[::]}:${PGADMIN_LISTEN_PORT:-$(default_port)}" \
  --access-logfile "${GUNICORN_ACCESS_LOGFILE:--}" run_pgadmin:app

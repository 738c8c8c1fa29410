#!/bin/bash
# Starts Kong like the official image: KONG_X_FILE names a file whose content becomes KONG_X.
set -euo pipefail

if [[ ${1-} == kong ]]; then
  for file_name in "${!KONG_@}"; do
    name=${file_name%_FILE}
    # An nginx directive may also end in _file, for example access_by_lua_file.
    [[ $file_name == *_FILE && $file_name != KONG_NGINX_* ]] || continue
    if [[ -n ${!name-} ]]; then
      echo "error: both $name and $file_name are set (but are exclusive)" >&2
      exit 1
    fi
    export "$name=$(<"${!file_name}")"
    unset "$file_name"
  done
  export KONG_PREFIX=${KONG_PREFIX:-/usr/local/kong}
fi
exec "$@"

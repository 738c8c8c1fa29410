#!/bin/bash
# Starts Kong as the official image does: KONG_X_FILE names a file whose content becomes KONG_X.
set -euo pipefail

if [[ ${1-} == kong ]]; then
  for file_name in "${!KONG_@}"; do
    name=${file_name%_FILE}
    # A directive for nginx may end so, as access_by_lua_file does.
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

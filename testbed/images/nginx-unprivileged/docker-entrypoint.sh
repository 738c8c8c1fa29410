#!/bin/sh
# Before nginx starts, this runs the scripts in /docker-entrypoint.d in order (.envsh may set variables), and writes
# each file in /etc/nginx/templates with its variables substituted to conf.d, as in the official image.
set -eu

if [ "${1-}" = nginx ] || [ "${1-}" = nginx-debug ]; then
  for script in /docker-entrypoint.d/*; do
    case $script in
      *.envsh) [ -x "$script" ] && . "$script" ;;
      *.sh) [ -x "$script" ] && "$script" ;;
    esac
  done
  output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
  # Substitute only variables that are set, because nginx' own variables use the same syntax.
  names=$(env | cut -d= -f1 | sed 's/.*/${&}/' | tr '\n' ' ')
  for template in "${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}"/*"${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}"; do
    [ -f "$template" ] || continue
    name=${template##*/}
    envsubst "$names" <"$template" >"$output/${name%"${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}"}"
  done
fi
exec "$@"

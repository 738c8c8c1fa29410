#!/bin/sh
# Options alone, or one of Traefik's own commands, mean Traefik; anything else is run as it is.
set -eu
case ${1:-} in
    -* | version | healthcheck) set -- traefik "$@" ;;
esac
exec "$@"

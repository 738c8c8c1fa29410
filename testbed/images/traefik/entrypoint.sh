#!/bin/sh
# If the arguments are options or one of Traefik's own commands, run Traefik; run anything else unchanged.
set -eu
case ${1:-} in
    -* | version | healthcheck) set -- traefik "$@" ;;
esac
exec "$@"

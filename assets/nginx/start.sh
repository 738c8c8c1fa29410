#!/bin/sh
# Starts nginx with the name servers of the container's own /etc/resolv.conf: an upstream whose address changes is
# found again, which a name that nginx resolves at its start is not.
set -eu

servers=$(awk '$1 == "nameserver" { print ($2 ~ /:/) ? "[" $2 "]" : $2 }' /etc/resolv.conf | tr '\n' ' ')
printf 'resolver %s valid=5s ipv6=off;\nresolver_timeout 2s;\n' "$servers" >/tmp/resolver.conf
exec nginx -c "$(dirname "$0")/nginx.conf" -g 'daemon off;'

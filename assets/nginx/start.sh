#!/bin/sh
# Starts nginx with the name servers of the container's own /etc/resolv.conf: an upstream whose address changes is
# found again, which a name that nginx resolves at its start is not.
#
# And follows the certificate: nginx reads its files when it starts, whoever renews them changes them later.
set -eu
configuration=$(dirname "$0")/nginx.conf
certificate=$1
look_s=10

follow_certificate() {
    shown=$(cksum "$certificate"/tls.*)
    while sleep "$look_s"; do
        # Between two files that don't belong together nginx refuses, and is asked again.
        found=$(cksum "$certificate"/tls.*) && [ "$found" != "$shown" ] || continue
        if nginx -c "$configuration" -s reload; then
            shown=$found
            echo 'nginx takes the renewed certificate' >&2
        fi
    done
}

servers=$(awk '$1 == "nameserver" { print ($2 ~ /:/) ? "[" $2 "]" : $2 }' /etc/resolv.conf | tr '\n' ' ')
printf 'resolver %s valid=5s ipv6=off;\nresolver_timeout 2s;\n' "$servers" >/tmp/resolver.conf
follow_certificate &
exec nginx -c "$configuration" -g 'daemon off;'

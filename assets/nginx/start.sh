#!/bin/sh
# Starts nginx with the name servers in the container's own /etc/resolv.conf, so that an upstream whose address changes
# is resolved again. nginx resolves plain names only at its start.
#
# It also watches the certificate: nginx reads its files at its start, and they change later, when the certificate is
# renewed.
set -eu
configuration=$(dirname "$0")/nginx.conf
certificate=$1
look_s=10

follow_certificate() {
    shown=$(cksum "$certificate"/tls.*)
    while sleep "$look_s"; do
        # While certificate and key don't match, nginx refuses the reload, which is retried.
        found=$(cksum "$certificate"/tls.*) && [ "$found" != "$shown" ] || continue
        if nginx -c "$configuration" -s reload; then
            shown=$found
            echo 'nginx reloads the renewed certificate' >&2
        fi
    done
}

servers=$(awk '$1 == "nameserver" { print ($2 ~ /:/) ? "[" $2 "]" : $2 }' /etc/resolv.conf | tr '\n' ' ')
printf 'resolver %s valid=5s ipv6=off;\nresolver_timeout 2s;\n' "$servers" >/tmp/resolver.conf
follow_certificate &
exec nginx -c "$configuration" -g 'daemon off;'

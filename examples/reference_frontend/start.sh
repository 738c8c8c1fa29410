#!/bin/sh
# Writes the configuration and the page for this front end into /tmp, the only writable directory, and runs nginx.
#
#   PORT           where it listens
#   FRONTEND_NAME  letters, digits, - and spaces
#   API_URL        address of the API as the browser reaches it, https://api.example.org or /api
set -eu
here=$(dirname "$0")
made=/tmp/frontend

refuse() {
    printf '%s is "%s"; allowed: %s\n' "$1" "$2" "$3" >&2
    exit 2
}

# Allowed characters can't end a quotation in nginx's file, in HTML or in sed.
case ${PORT:-} in '' | *[!0-9]*) refuse PORT "${PORT:-}" 'a number' ;; esac
case ${FRONTEND_NAME:-} in
    '' | *[!A-Za-z0-9\ -]*) refuse FRONTEND_NAME "${FRONTEND_NAME:-}" 'letters, digits, - and spaces' ;;
esac
case ${API_URL:-} in
    *[!A-Za-z0-9:/._~%-]*) refuse API_URL "$API_URL" 'an address without query' ;;
    http://?* | https://?* | /*) ;;
    *) refuse API_URL "${API_URL:-}" 'http://…, https://… or a path from /' ;;
esac

mkdir -p "$made/site"
cp "$here/style.css" "$made/site/"
for pair in "nginx.conf $made/nginx.conf" "index.html $made/site/index.html"; do
    sed -e "s|@PORT@|$PORT|g" -e "s|@FRONTEND_NAME@|$FRONTEND_NAME|g" -e "s|@API_URL@|$API_URL|g" \
        "$here/${pair%% *}" >"${pair#* }"
done
exec nginx -e stderr -c "$made/nginx.conf" -g 'daemon off;'

#!/bin/sh
# Lists the times that can be recovered, per base backup. Needs no server.
#
#   sh /assets/points.sh [--json | --verify]   --verify reads every file of the base backups and every WAL record
#
# chains.sh describes the environment and the files.
#
# Exit status: 0; 1 if WAL is missing or something is damaged, or on a failure, with the reason on standard error.
operation=points
usage="sh points.sh [--json | --verify]"
here=$(dirname "$0")
. "$here/common.sh"
. "$here/chains.sh"

# Set `damage` of a base backup, or to nothing. find_damage CHAIN BASE
find_damage() {
    damage=""
    if ! pg_verifybackup --quiet "$archive/$1/base/$2/data" >"$scratch/err" 2>&1; then
        damage="the base backup: $(head -n 1 "$scratch/err")"
    elif [ -n "$last_file" ]; then
        last_complete=$(ls "$archive/$1/wal" | grep -Ex '[0-9A-F]{24}' | tail -n 1)
        first=$(base_value "$1" "$2" wal)
        if [ -n "$last_complete" ] && ! expr "$last_complete" \< "$first" >/dev/null && [ -z "$holes" ]; then
            # The last record of the last complete segment may continue in the partial one.
            pg_waldump --quiet --path="$archive/$1/wal" "$first" "$last_complete" >/dev/null 2>"$scratch/err" ||
                grep -q "could not find file" "$scratch/err" ||
                damage="the WAL: $(head -n 1 "$scratch/err")"
        fi
    fi
}

list() {
    while read -r base chain; do
        find_range "$chain" "$base"
        printf '%s  from %s to %s  PostgreSQL %s  %s bytes\n' "$base" "$from_time" "${until_time:-nothing yet}" \
            "$(base_value "$chain" "$base" server)" "$(base_value "$chain" "$base" bytes)"
        if [ -n "$holes" ]; then
            printf '  missing WAL: %s\n' "$holes"
            sound=false
        fi
        if $verifies; then
            find_damage "$chain" "$base"
            if [ -n "$damage" ]; then
                printf '  damaged: %s\n' "$damage"
                sound=false
            fi
        fi
        if [ -e "$archive/$chain/broken" ]; then printf '  ended: %s\n' "$(cat "$archive/$chain/broken")"; fi
    done <"$scratch/bases"
}

list_json() {
    separator="["
    while read -r base chain; do
        find_range "$chain" "$base"
        [ -z "$holes" ] || sound=false
        printf '%s{"base": "%s", "chain": "%s", "from": "%s", "until": %s, "server": "%s", "bytes": %s, "missing": [%s]}' \
            "$separator" "$base" "$chain" "$from_time" "$(quoted "$until_time")" \
            "$(base_value "$chain" "$base" server)" "$(base_value "$chain" "$base" bytes)" \
            "$(printf '%s' "$holes" | sed 's/[^ ]\{1,\}/"&"/g; s/ /, /g')"
        separator=", "
    done <"$scratch/bases"
    [ "$separator" != "[" ] || printf '['
    printf ']\n'
}

quoted() {
    if [ -n "$1" ]; then printf '"%s"' "$1"; else printf null; fi
}

step="directory $archive"
[ -d "$archive" ] || fail "ARCHIVE_DIR is not a directory: is its volume mounted?"
[ $# -le 1 ] || refuse_usage "too many arguments"
sound=true verifies=false
all_bases >"$scratch/bases"
case ${1:-} in
    '') list ;;
    --verify)
        verifies=true
        list
        ;;
    --json) list_json ;;
    *) refuse_usage "unknown argument: $1" ;;
esac
step=check
$sound || fail "not every time between the base backups and now can be recovered"

#!/bin/sh
# Lists or verifies the backups in BACKUP_DIR. Needs no server.
#
#   sh /assets/backups.sh list [--json]   one line per backup, the oldest first; or a JSON array with their manifests
#   sh /assets/backups.sh verify [NAME]   read every file of one backup or of all, and compare checksums
#
# common.sh describes the environment and the files of a backup.
#
# Exit status: 0; 1 if a backup is damaged, or on a failure, with the reason on standard error.
operation=backups
usage="sh backups.sh list [--json] | verify [NAME]"
. "$(dirname "$0")/common.sh"

list() {
    for name in $(backup_names); do
        check_manifest "$name"
        if [ -n "$damage" ]; then
            printf '%s  damaged: %s\n' "$name" "$damage"
        else
            printf '%s  PostgreSQL %s  %s bytes  %s\n' "$name" "$(manifest_value "$name" server)" \
                "$(manifest_value "$name" bytes)" "$(backed_up_databases "$name" | tr '\n' ' ' | sed 's/ $//')"
        fi
    done
}

list_json() {
    separator="["
    for name in $(backup_names); do
        check_manifest "$name"
        printf '%s{"name": "%s", "damage": ' "$separator" "$name"
        if [ -n "$damage" ]; then
            printf '"%s", "manifest": null}' "$damage"
        else
            printf 'null, "manifest": '
            cat "$directory/$name/manifest.json"
            printf '}'
        fi
        separator=", "
    done
    [ "$separator" != "[" ] || printf '['
    printf ']\n'
}

verify() {
    sound=true
    for name in $1; do
        check_backup "$name"
        if [ -n "$damage" ]; then
            printf '%s  damaged: %s\n' "$name" "$damage"
            sound=false
        else
            printf '%s  sound\n' "$name"
        fi
    done
    step=verification
    $sound || fail "a backup is damaged: it can't be restored, at least not completely"
}

check_directory
case ${1:-} in
    list)
        case ${2:-} in
            '') list ;;
            --json) list_json ;;
            *) refuse_usage "unknown argument: $2" ;;
        esac
        ;;
    verify)
        [ $# -le 2 ] || refuse_usage "too many arguments"
        if [ $# -eq 2 ]; then
            step=verification
            is_backup_name "$2" && [ -d "$directory/$2" ] || fail "there is no backup \"$2\""
        fi
        verify "${2:-$(backup_names)}"
        ;;
    *) refuse_usage "expected list or verify" ;;
esac

# shellcheck shell=sh
# For the start scripts of stores: refuses to start a store on a volume that contains other data, or has lost its data.
# Plain POSIX sh; sourced.
#
# The marker is a file at the volume's mount point: the store's name, then words `key=value` that describe the data's
# layout. It is written once the data exists, so that an interrupted first start is repeated.

MARKER=.pti-calendar-data

refuse() {
    printf '%s\n' "$@" >&2
    exit 1
}

# check_marker MOUNT FOLDER REMEDY STORE [KEY=VALUE...]: REMEDY describes what an operator must do to change VALUE. A
# volume without a marker passes.
check_marker() {
    mount=$1 folder=$2 remedy=$3 store=$4
    shift 4
    # A machine crash can leave an empty file.
    [ -s "$mount/$MARKER" ] || return 0
    kept=$(cat "$mount/$MARKER")
    case "$kept " in
    "$store "*) ;;
    *) refuse "The volume at $mount contains the data of '$kept', not of '$store'. Nothing was started or changed." ;;
    esac
    for fact; do
        case " $kept " in
        *" $fact "*) ;;
        *" ${fact%%=*}="*)
            refuse "The volume at $mount contains the data of '$kept', but the settings have '$fact'." \
                "Nothing was started or changed. $remedy"
            ;;
        esac
    done
    if [ -z "$(ls -A "$mount/$folder" 2>/dev/null)" ]; then
        refuse "The volume at $mount contained the data of '$kept', but $mount/$folder is empty or missing." \
            "It wasn't started, because it would be empty. Restore the data," \
            "or delete $mount/$MARKER to start with an empty store."
    fi
}

# write_marker MOUNT STORE [KEY=VALUE...]
write_marker() {
    mount=$1
    shift
    if [ "$(cat "$mount/$MARKER" 2>/dev/null)" = "$*" ]; then return 0; fi
    printf '%s\n' "$*" >"$mount/$MARKER.new"
    mv "$mount/$MARKER.new" "$mount/$MARKER"
}

# shellcheck shell=sh
# For the start scripts of stores: refuses to start a store on a volume that holds other data, or has lost its data.
# Plain POSIX sh; sourced.
#
# The marker is a file at the volume's mount: the store's name, then words `key=value` that say how its data is laid
# out. It is written once the data is there, so that a first start that is ended in between begins again.

MARKER=.pti-calendar-data

refuse() {
    printf '%s\n' "$@" >&2
    exit 1
}

# check_marker MOUNT FOLDER REMEDY STORE [KEY=VALUE...]: REMEDY is what a person does who wants another VALUE. A volume
# without a marker passes.
check_marker() {
    mount=$1 folder=$2 remedy=$3 store=$4
    shift 4
    # A crash of the machine can leave an empty file.
    [ -s "$mount/$MARKER" ] || return 0
    kept=$(cat "$mount/$MARKER")
    case "$kept " in
    "$store "*) ;;
    *) refuse "The volume at $mount holds the data of '$kept', not of '$store'. Not started, nothing was changed." ;;
    esac
    for fact; do
        case " $kept " in
        *" $fact "*) ;;
        *" ${fact%%=*}="*)
            refuse "The volume at $mount holds the data of '$kept', and the settings say '$fact'." \
                "Not started, nothing was changed. $remedy"
            ;;
        esac
    done
    if [ -z "$(ls -A "$mount/$folder" 2>/dev/null)" ]; then
        refuse "The volume at $mount held the data of '$kept', and $mount/$folder is empty or missing." \
            "Not started, so that nothing begins empty in its place. Restore the data," \
            "or delete $mount/$MARKER to begin with an empty store."
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

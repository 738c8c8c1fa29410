#!/bin/sh
# Checks whether PostgreSQL accepts connections over TCP; if not, prints what it is doing.
#
#   sh ready.sh        Environment: PGDATA
#
# The amount of WAL that a crashed server must replay isn't known before the end: WAL files are created in advance, so
# the newest file is only the latest possible end.
LC_ALL=C
export LC_ALL
pg_isready -q -h 127.0.0.1 -U postgres
answer=$?
# 126 and 127: it can't be executed. The shell has printed the reason.
case $answer in 0 | 126 | 127) exit "$answer" ;; esac

# An upgrade to another major version (upgrade.sh).
progress=${PGDATA%/*/*}/upgrade/progress
if [ -s "$progress" ]; then
    cat "$progress"
    exit 1
fi

# 000000010000000A000000FF: timeline, then the number of the 16 MiB file in two parts.
number() {
    high=${1#????????}
    printf '%d' $((0x${high%????????} * 256 + 0x${high#????????}))
}

for arguments in /proc/[0-9]*/cmdline; do
    title=$(tr '\0' ' ' 2>/dev/null <"$arguments") || continue
    case $title in
        "postgres: startup recovering "*)
            now=${title#postgres: startup recovering }
            now=${now%% *}
            first=$(pg_controldata -D "$PGDATA" | sed -n "s/^Latest checkpoint's REDO WAL file: *//p")
            for last in "$PGDATA"/pg_wal/????????????????????????; do :; done
            last=${last##*/}
            first=$(number "$first")
            replayed=$(($(number "$now") - first))
            echo "recovering: $replayed of at most $(($(number "$last") - first + 1)) WAL files replayed ($now)"
            exit 1
            ;;
    esac
done
echo "PostgreSQL doesn't accept connections"
exit 1

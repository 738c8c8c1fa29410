#!/bin/sh
# Starts Redis on a volume that may already hold data.
#
#   sh start.sh MOUNT FOLDER CONFIGURATION
#
# MOUNT/FOLDER is `dir` of the configuration. The marker in MOUNT says that there is data: without the append-only
# file, Redis would start empty, so it isn't started. A new volume gets an empty append-only file before the marker.
set -eu

data=$1/$2
marker=$1/.pti-calendar-data
configuration=$3
layout="redis append-only-file"
log=$data/appendonlydir
manifest=$log/appendonly.aof.manifest

refuse() {
    echo "Redis is not started: $1" >&2
    shift
    printf '%s\n' "$@" >&2
    exit 1
}

# Until Redis 7 the append-only file was a single one, which Redis takes over.
has_log() { [ -s "$manifest" ] || [ -s "$data/appendonly.aof" ]; }

if [ -e "$marker" ]; then
    found=$(cat "$marker")
    [ "$found" = "$layout" ] || refuse "the volume at $1 holds '$found', not '$layout'." \
        "Give it its own volume back."
    has_log || refuse "this volume held data, and its append-only file $log is missing." \
        "Put $log back from a copy of the volume; then it starts again by itself." \
        "To start empty instead, remove $marker."
elif ! has_log; then
    [ ! -e "$data/dump.rdb" ] || refuse "the volume holds a snapshot, dump.rdb, and no append-only file." \
        "Redis would start empty. Convert it once with this image, on a copy of the volume:" \
        "  redis-server --dir $data --appendonly no, then: redis-cli CONFIG SET appendonly yes" \
        "To start empty instead, move $data/dump.rdb off the volume."
    # An empty log, as Redis' own manifest describes one.
    mkdir -p "$log"
    : >"$log/appendonly.aof.1.incr.aof"
    echo "file appendonly.aof.1.incr.aof seq 1 type i" >"$manifest.new"
    mv "$manifest.new" "$manifest"
fi
if [ ! -e "$marker" ]; then
    echo "$layout" >"$marker.new"
    mv "$marker.new" "$marker"
fi

# What a rewrite or a snapshot had written when it was killed is never read again, and each is as large as the data.
# https://github.com/redis/redis/issues/3065
rm -f "$data"/temp-*.aof "$data"/temp-*.rdb

exec redis-server "$configuration"

#!/bin/sh
# Starts Redis on a volume that may already hold data.
#
#   sh start.sh MOUNT FOLDER CONFIGURATION
#
# MOUNT/FOLDER is `dir` of the configuration. Without its append-only file Redis would start empty: a volume that held
# data and lacks it is refused. A new volume gets an empty append-only file before the marker.
set -eu

# shellcheck source=../volume/marker.sh
. "$(dirname "$0")/marker.sh"

data=$1/$2
log=$data/appendonlydir
manifest=$log/appendonly.aof.manifest
configuration=$3

# Until Redis 7 the append-only file was a single one, which Redis takes over.
has_log() { [ -s "$manifest" ] || [ -s "$data/appendonly.aof" ]; }

check_marker "$1" "$2" "" redis
if ! has_log; then
    if [ -s "$1/$MARKER" ]; then
        refuse "The volume at $1 held Redis' data, and its append-only file $log is missing." \
            "Not started, so that nothing begins empty in its place. Put it back from a copy of the volume," \
            "or delete $1/$MARKER to begin with an empty store."
    fi
    if [ -e "$data/dump.rdb" ]; then
        refuse "The volume holds a snapshot, $data/dump.rdb, and no append-only file. Redis would start empty." \
            "Convert it once with this image, on a copy of the volume:" \
            "  redis-server --dir $data --appendonly no, then: redis-cli CONFIG SET appendonly yes" \
            "To start empty instead, move the snapshot off the volume."
    fi
    # An empty log, as Redis' own manifest describes one.
    mkdir -p "$log"
    : >"$log/appendonly.aof.1.incr.aof"
    echo "file appendonly.aof.1.incr.aof seq 1 type i" >"$manifest.new"
    mv "$manifest.new" "$manifest"
fi
write_marker "$1" redis

# What a rewrite or a snapshot had written when it was killed is never read again, and each is as large as the data.
# https://github.com/redis/redis/issues/3065
rm -f "$data"/temp-*.aof "$data"/temp-*.rdb

exec redis-server "$configuration"

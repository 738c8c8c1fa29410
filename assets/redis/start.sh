#!/bin/sh
# Starts Redis on a volume that may already contain data.
#
#   sh start.sh MOUNT FOLDER CONFIGURATION
#
# MOUNT/FOLDER is `dir` of the configuration. Without its append-only file, Redis would start empty, so a volume that
# has contained data and lacks the file is refused. A new volume gets an empty append-only file before the marker.
set -eu

# shellcheck source=../volume/marker.sh
. "$(dirname "$0")/marker.sh"

data=$1/$2
log=$data/appendonlydir
manifest=$log/appendonly.aof.manifest
configuration=$3

# Before Redis 7 the append-only file was a single file, which Redis converts.
has_log() { [ -s "$manifest" ] || [ -s "$data/appendonly.aof" ]; }

check_marker "$1" "$2" "" redis
if ! has_log; then
    if [ -s "$1/$MARKER" ]; then
        refuse "The volume at $1 contained Redis' data, but its append-only file $log is missing." \
            "It wasn't started, because it would be empty. Restore it from a copy of the volume," \
            "or delete $1/$MARKER to start with an empty store."
    fi
    if [ -e "$data/dump.rdb" ]; then
        refuse "The volume contains a snapshot, $data/dump.rdb, but no append-only file. Redis would start empty." \
            "Convert it once with this image, on a copy of the volume:" \
            "  redis-server --dir $data --appendonly no, then: redis-cli CONFIG SET appendonly yes" \
            "To start empty instead, move the snapshot off the volume."
    fi
    # An empty append-only file, with the manifest that Redis itself writes.
    mkdir -p "$log"
    : >"$log/appendonly.aof.1.incr.aof"
    echo "file appendonly.aof.1.incr.aof seq 1 type i" >"$manifest.new"
    mv "$manifest.new" "$manifest"
fi
write_marker "$1" redis

# Unfinished files of a killed rewrite or snapshot are never read again, and each is as large as the data.
# https://github.com/redis/redis/issues/3065
rm -f "$data"/temp-*.aof "$data"/temp-*.rdb

exec redis-server "$configuration"

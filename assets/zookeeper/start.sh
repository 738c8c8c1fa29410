#!/usr/bin/env bash
# Starts ZooKeeper with its data in a folder below each volume's mount.
set -euo pipefail

here=$(dirname "$0")
# shellcheck source=../volume/marker.sh
. "$here/marker.sh"

remedy="Put the volume back that belongs to this store."
for mount in /data /datalog; do
    sh "$here/below.sh" "$mount" zookeeper true
    check_marker "$mount" zookeeper "$remedy" zookeeper
done
# ready.sh marks the log first. An empty log beside snapshots would be served without the transactions that it held.
if [[ -s /data/$MARKER && ! -s /datalog/$MARKER ]]; then
    refuse "The volume at /data holds the data of a ZooKeeper, and the one at /datalog is a new one." \
        "Not started, so that no transaction is lost unnoticed. Put the log's volume back, or delete /data/$MARKER" \
        "to go on from the last snapshot."
fi
if [[ -s /datalog/$MARKER && -z $(ls -A /data/zookeeper) ]]; then
    refuse "The volume at /datalog holds the log of a ZooKeeper, and the one at /data is empty." \
        "Not started, nothing was changed. Put the data's volume back, or empty both volumes."
fi
exec zkServer.sh start-foreground

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
# ready.sh marks the log volume first. If the log were empty beside existing snapshots, ZooKeeper would serve without
# its transactions.
if [[ -s /data/$MARKER && ! -s /datalog/$MARKER ]]; then
    refuse "The volume at /data contains ZooKeeper's data, but the one at /datalog is new." \
        "It wasn't started, so that no transaction is lost unnoticed. Restore the log's volume, or delete /data/$MARKER" \
        "to continue from the last snapshot."
fi
if [[ -s /datalog/$MARKER && -z $(ls -A /data/zookeeper) ]]; then
    refuse "The volume at /datalog contains ZooKeeper's log, but the one at /data is empty." \
        "Nothing was started or changed. Restore the data's volume, or empty both volumes."
fi
exec zkServer.sh start-foreground

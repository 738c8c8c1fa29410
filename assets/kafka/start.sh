#!/usr/bin/env bash
# Starts the broker; in the KRaft mode, gives an empty data directory its cluster id (CLUSTER_ID) first.
set -euo pipefail

configuration=$(dirname "$0")/server.properties
data=$(sed -n 's/^log.dirs=//p' "$configuration")
if [[ -n ${CLUSTER_ID:-} && ! -e $data/meta.properties ]]; then
    /opt/kafka/bin/kafka-storage.sh format --cluster-id "$CLUSTER_ID" --config "$configuration"
fi
exec /opt/kafka/bin/kafka-server-start.sh "$configuration"

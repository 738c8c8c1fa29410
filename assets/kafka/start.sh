#!/usr/bin/env bash
# Starts a broker; in the KRaft mode, gives an empty data directory its cluster id (CLUSTER_ID) first.
#
# One configuration serves several brokers: @ordinal@ stands for the number at the end of the host name (from 0),
# @node@ for the broker's id (from 1).
set -euo pipefail

configuration=/tmp/server.properties
ordinal=0
if [[ $HOSTNAME =~ -([0-9]+)$ ]]; then ordinal=${BASH_REMATCH[1]}; fi
sed -e "s/@ordinal@/$ordinal/g" -e "s/@node@/$((ordinal + 1))/g" "$(dirname "$0")/server.properties" >"$configuration"

# The image has archives of the classes that its programs load; with one, Java starts in half the processor's time.
# Java goes without one that is missing or of another Java.
options=${KAFKA_JVM_PERFORMANCE_OPTS-}
with_archive() { export KAFKA_JVM_PERFORMANCE_OPTS="$options -XX:SharedArchiveFile=/opt/kafka/$1.jsa"; }

data=$(sed -n 's/^log.dirs=//p' "$configuration")
if [[ -n ${CLUSTER_ID:-} && ! -e $data/meta.properties ]]; then
    with_archive storage
    /opt/kafka/bin/kafka-storage.sh format --cluster-id="$CLUSTER_ID" --config "$configuration"
fi
with_archive kafka
exec /opt/kafka/bin/kafka-server-start.sh "$configuration"

#!/usr/bin/env bash
# Starts a broker. In KRaft mode, it first formats an empty data directory with its cluster ID (CLUSTER_ID).
#
# One configuration is used by several brokers: @ordinal@ is replaced by the number at the end of the host name (from
# 0), @node@ by the broker's ID (from 1). BROKERS is the number of brokers, PEERS the domain of their host names.
set -euo pipefail

here=$(dirname "$0")
# shellcheck source=../volume/marker.sh
. "$here/marker.sh"

# Java's temporary files and the logs. In a pod this directory outlives the container, so remove the files of a killed
# broker.
scratch=/tmp/kafka
rm -rf "$scratch"
mkdir -p "$scratch/logs" "$scratch/java"
export LOG_DIR=$scratch/logs KAFKA_OPTS="-Djava.io.tmpdir=$scratch/java -XX:-UsePerfData"
configuration=$scratch/server.properties

ordinal=0
if [[ $HOSTNAME =~ -([0-9]+)$ ]]; then ordinal=${BASH_REMATCH[1]}; fi
sed -e "s/@ordinal@/$ordinal/g" -e "s/@node@/$((ordinal + 1))/g" "$here/server.properties" >"$configuration"

data=$(sed -n 's/^log.dirs=//p' "$configuration")
mount=$(dirname "$data")
mode=zookeeper
if [[ -n ${CLUSTER_ID:-} ]]; then mode=kraft; fi
layout=(kafka "mode=$mode" "brokers=$BROKERS")
echo "${layout[*]}" >"$scratch/layout"
remedy="Set kafka.brokers back; docs/stores.md#another-number-of-brokers describes the way to another number."

sh "$here/below.sh" "$mount" "$(basename "$data")" true
check_marker "$mount" "$(basename "$data")" "$remedy" "${layout[@]}"

if [[ -e $data/meta.properties ]]; then
    # Data from before the marker: its quorum contains the number of brokers that created it.
    quorum=$data/__cluster_metadata-0/quorum-state
    if [[ ! -s $mount/$MARKER && -e $quorum ]]; then
        voters=$(grep -o '"voterId"' "$quorum" | wc -l)
        if ((voters > 0 && voters != BROKERS)); then
            refuse "The volume at $mount contains the data of a quorum of $voters, but the settings have brokers=$BROKERS." \
                "Nothing was started or changed. $remedy"
        fi
    fi
    write_marker "$mount" "${layout[@]}"
fi

# The image has class data archives of its programs, with which Java starts in half the CPU time.
# Java works without an archive if it is missing or from another Java version.
options=${KAFKA_JVM_PERFORMANCE_OPTS-}
with_archive() { export KAFKA_JVM_PERFORMANCE_OPTS="$options -XX:SharedArchiveFile=/opt/kafka/$1.jsa"; }

if [[ $mode == kraft && ! -e $data/meta.properties ]]; then
    if ((ordinal > 0)); then
        # Empty brokers would elect each other while the first one, which may have data, starts late or refuses to
        # start.
        first="${HOSTNAME%-*}-0.$PEERS"
        echo "an empty volume: waiting for $first, so that no quorum forms without it"
        trap 'exit 143' TERM
        until timeout 2 bash -c "</dev/tcp/$first/9093" 2>/dev/null; do
            sleep 1 &
            wait "$!"
        done
        trap - TERM
    fi
    with_archive storage
    /opt/kafka/bin/kafka-storage.sh format --cluster-id="$CLUSTER_ID" --config "$configuration"
    write_marker "$mount" "${layout[@]}"
fi
with_archive kafka

# By default, a broker writes ten garbage-collection logs of 100 MB to LOG_DIR, and with the image's own configuration
# six more logs without a limit. This configuration writes to the container's log.
export KAFKA_GC_LOG_OPTS="-Xlog:gc*=warning:stdout"
export KAFKA_LOG4J_OPTS="-Dlog4j.configuration=file:$here/log4j.properties"
KAFKA_LOG4J_OPTS+=" -Dlog4j2.configurationFile=$here/log4j2.properties"
exec /opt/kafka/bin/kafka-server-start.sh "$configuration"

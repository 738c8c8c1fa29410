#!/bin/bash
# Creates the class data archives of the official image: /opt/kafka/storage.jsa and kafka.jsa.
set -euo pipefail

export LOG_DIR=/tmp/archive/logs
mkdir -p "$LOG_DIR"
configuration=/tmp/archive/server.properties
cat >"$configuration" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
log.dirs=/tmp/archive/data
offsets.topic.replication.factor=1
EOF

KAFKA_JVM_PERFORMANCE_OPTS=-XX:ArchiveClassesAtExit=/opt/kafka/storage.jsa \
    /opt/kafka/bin/kafka-storage.sh format --cluster-id AAAAAAAAAAAAAAAAAAAAAA --config "$configuration"
KAFKA_JVM_PERFORMANCE_OPTS=-XX:ArchiveClassesAtExit=/opt/kafka/kafka.jsa \
    /opt/kafka/bin/kafka-server-start.sh "$configuration" &
/opt/kafka/bin/kafka-topics.sh --bootstrap-server localhost:9092 --create --topic archived
kill %1
wait %1 || [[ $? == 143 ]]
rm -r /tmp/archive
test -s /opt/kafka/kafka.jsa

#!/bin/bash
# Starts a broker (or controller) with the given properties file, in the foreground.
if (($# < 1)); then
  echo "USAGE: $0 server.properties [--override property=value]*" >&2
  exit 1
fi
base=$(cd "$(dirname "$0")/.." && pwd)
export KAFKA_HEAP_OPTS=${KAFKA_HEAP_OPTS:--Xmx1G -Xms1G}
export KAFKA_LOG4J_OPTS=${KAFKA_LOG4J_OPTS:--Dlog4j.configuration=file:$base/config/log4j.properties -Dlog4j2.configurationFile=$base/config/log4j2.properties}
exec "$base/bin/kafka-run-class.sh" -name kafkaServer -loggc kafka.Kafka "$@"

#!/bin/bash
# Runs one Kafka class with the environment variables that the official scripts support.
base=$(cd "$(dirname "$0")/.." && pwd)
LOG_DIR=${LOG_DIR:-$base/logs}
mkdir -p "$LOG_DIR"

gc_log=()
while [[ ${1-} == -* ]]; do
  case $1 in
    -name) name=$2; shift 2 ;;
    # Java doesn't start if it can't open this file: LOG_DIR must be writable for a broker, as in the official image.
    -loggc)
      : "${KAFKA_GC_LOG_OPTS:=-Xlog:gc*:file=$LOG_DIR/${name:-kafka}-gc.log:time,tags:filecount=10,filesize=100M}"
      gc_log=("$KAFKA_GC_LOG_OPTS")
      shift
      ;;
    *) break ;;
  esac
done

: "${KAFKA_HEAP_OPTS=-Xmx256M}"
: "${KAFKA_JVM_PERFORMANCE_OPTS=-server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true}"
: "${KAFKA_LOG4J_OPTS=-Dlog4j.configuration=file:$base/config/tools-log4j.properties -Dlog4j2.configurationFile=$base/config/tools-log4j2.properties}"

# List each file by name and in order: Java only uses a class data archive with the class path for which it was created.
class_path=$(printf '%s:' "$base"/libs/*.jar)

# The variables contain several options each, so they are split on purpose.
# shellcheck disable=SC2086
exec java $KAFKA_HEAP_OPTS $KAFKA_JVM_PERFORMANCE_OPTS "${gc_log[@]}" ${KAFKA_JMX_OPTS-} \
  -Dkafka.logs.dir="$LOG_DIR" $KAFKA_LOG4J_OPTS -cp "$class_path" ${KAFKA_OPTS-} "$@"

#!/bin/bash
# `zkServer.sh start-foreground [zoo.cfg]` serves; `zkServer.sh status` queries the local server's mode.
set -euo pipefail
classpath="$(cd "$(dirname "$0")/.." && pwd)/lib/*:$ZOOCFGDIR"

# JVMFLAGS and SERVER_JVMFLAGS contain several options each, so they are split on purpose.
# shellcheck disable=SC2086
case ${1-} in
  start-foreground)
    exec java -Dzookeeper.log.dir="$ZOO_LOG_DIR" -XX:+HeapDumpOnOutOfMemoryError -XX:OnOutOfMemoryError='kill -9 %p' \
      -cp "$classpath" -Xmx"${ZK_SERVER_HEAP:-1000}m" ${SERVER_JVMFLAGS-} ${JVMFLAGS-} \
      org.apache.zookeeper.server.quorum.QuorumPeerMain "${2:-$ZOOCFGDIR/zoo.cfg}"
    ;;
  status)
    exec java -cp "$classpath" ${JVMFLAGS-} org.apache.zookeeper.client.FourLetterWordMain localhost "${2:-2181}" srvr
    ;;
  *)
    echo "Usage: $0 {start-foreground|status}" >&2
    exit 1
    ;;
esac

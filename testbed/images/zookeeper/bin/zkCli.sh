#!/bin/bash
# The ZooKeeper shell: `zkCli.sh -server localhost:2181 ls /`.
# shellcheck disable=SC2086
exec java -cp "${0%/*}/../lib/*:$ZOOCFGDIR" -Xmx256m ${CLIENT_JVMFLAGS-} org.apache.zookeeper.ZooKeeperMain "$@"

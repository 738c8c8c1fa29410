#!/bin/bash
# Writes zoo.cfg from the ZOO_* variables unless one is mounted, and the server's ID; then runs the command.
set -euo pipefail

if [[ ${1-} == zkServer.sh ]] && ((EUID == 0)); then
  chown -R zookeeper "$ZOO_DATA_DIR" "$ZOO_DATA_LOG_DIR" "$ZOO_LOG_DIR"
  exec gosu zookeeper "$0" "$@"
fi

write_config() {
  printf '%s\n' \
    "dataDir=$ZOO_DATA_DIR" \
    "dataLogDir=$ZOO_DATA_LOG_DIR" \
    "tickTime=$ZOO_TICK_TIME" \
    "initLimit=$ZOO_INIT_LIMIT" \
    "syncLimit=$ZOO_SYNC_LIMIT" \
    "autopurge.snapRetainCount=$ZOO_AUTOPURGE_SNAPRETAINCOUNT" \
    "autopurge.purgeInterval=$ZOO_AUTOPURGE_PURGEINTERVAL" \
    "maxClientCnxns=$ZOO_MAX_CLIENT_CNXNS" \
    "standaloneEnabled=$ZOO_STANDALONE_ENABLED" \
    "admin.enableServer=$ZOO_ADMINSERVER_ENABLED"
  # Both variables are lists of lines, separated by spaces.
  # shellcheck disable=SC2086
  printf '%s\n' ${ZOO_SERVERS:-server.1=localhost:2888:3888;2181} ${ZOO_CFG_EXTRA-}
  if [[ -n ${ZOO_4LW_COMMANDS_WHITELIST-} ]]; then
    echo "4lw.commands.whitelist=$ZOO_4LW_COMMANDS_WHITELIST"
  fi
}

if [[ ! -f $ZOO_CONF_DIR/zoo.cfg ]]; then
  write_config >"$ZOO_CONF_DIR/zoo.cfg"
fi
if [[ ! -f $ZOO_DATA_DIR/myid ]]; then
  echo "${ZOO_MY_ID:-1}" >"$ZOO_DATA_DIR/myid"
fi
exec "$@"

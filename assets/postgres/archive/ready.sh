#!/bin/sh
# Checks whether the WAL is being received; if not, prints why.
status=$(cat "${ARCHIVE_STATUS_FILE:-/tmp/archive.status}" 2>/dev/null)
[ "$status" = receiving ] && exit 0
echo "${status:-not connected yet}"
exit 1

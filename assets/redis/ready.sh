#!/bin/sh
# Exits with 0 if Redis serves; otherwise prints the reason.
#
#   sh ready.sh [PASSWORD_FILE]
set -eu

if [ $# -gt 0 ]; then
    # A variable keeps the password out of the process arguments.
    REDISCLI_AUTH=$(cat "$1")
    export REDISCLI_AUTH
fi

answer=$(redis-cli ping 2>&1) || true
case $answer in
PONG) exit 0 ;;
*MISCONF*)
    # If Redis can't write to its disk, it refuses writes and pings, but answers reads. Without the only server, reads
    # would fail too.
    echo "$answer"
    exit 0
    ;;
*LOADING*)
    loaded=$(redis-cli info persistence | sed -n 's/^loading_loaded_perc:\([0-9]*\).*/\1/p')
    echo "recovering: ${loaded:-0} %"
    ;;
*) echo "$answer" ;;
esac
exit 1

#!/usr/bin/env bash
# Exits with 0 when ZooKeeper says it serves.
set -euo pipefail

exec 3<>/dev/tcp/127.0.0.1/2181
printf 'ruok' >&3
[[ $(head -c 4 <&3) == imok ]]

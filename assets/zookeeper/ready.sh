#!/usr/bin/env bash
# Exits with 0 when ZooKeeper says it serves.
set -euo pipefail

exec 3<>/dev/tcp/127.0.0.1/2181
printf 'ruok' >&3
[[ $(head -c 4 <&3) == imok ]]

# Both volumes hold its data now.
# shellcheck source=../volume/marker.sh
. "$(dirname "$0")/marker.sh"
for mount in /datalog /data; do
    write_marker "$mount" zookeeper
done

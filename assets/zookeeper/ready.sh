#!/usr/bin/env bash
# Exits with 0 if ZooKeeper reports that it serves.
set -euo pipefail

exec 3<>/dev/tcp/127.0.0.1/2181
printf 'ruok' >&3
[[ $(head -c 4 <&3) == imok ]]

# Both volumes contain its data now.
. "$(dirname "$0")/marker.sh"
for mount in /datalog /data; do
    write_marker "$mount" zookeeper
done

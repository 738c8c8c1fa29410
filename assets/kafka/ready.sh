#!/usr/bin/env bash
# Exits with 0 if the broker serves on the platform's listener. On failure it prints the reason.
#
# - Its scratch directory has space: Java unpacks its compression libraries there when the first compressed events arrive.
# - It responds.
# - Since its start, all its replicas have been in sync at least once, so that a rolling update only then restarts the
#   next broker.
#
# Kafka's own tools start a Java virtual machine each time, so this script writes the requests itself
# (https://kafka.apache.org/protocol). Each begins with its length, API key, version and correlation ID; there is no
# client ID.
set -euo pipefail

here=$(dirname "$0")
scratch=/tmp/kafka
api_versions='\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x07\xff\xff'
metadata_of_all_topics='\x00\x00\x00\x0e\x00\x03\x00\x01\x00\x00\x00\x08\xff\xff\xff\xff\xff\xff'

room=yes
{ head -c 65536 /dev/zero >"$scratch/room"; } 2>/dev/null || room=no
# A file that stayed would use the space of the next one.
rm -f "$scratch/room"
if [[ $room == no ]]; then
    echo "no space left in $scratch: $(du -ak "$scratch" | sort -rn | head -n 4 | tr '\n\t' '; ')"
    exit 1
fi

if ! { exec 3<>/dev/tcp/127.0.0.1/19092; } 2>/dev/null; then
    loaded=$(grep -oE '[0-9]+/[0-9]+ completed' "$scratch/logs/recovery.log" 2>/dev/null | tail -n 1 || true)
    echo "not listening yet${loaded:+, recovering: ${loaded% completed} logs}"
    exit 1
fi

if [[ -e $scratch/in-sync ]]; then
    printf '%b' "$api_versions" >&3
    # The response: its length, the correlation ID, error code 0.
    answer=$(head -c 10 <&3 | od -An -v -t x1 | tr -d ' \n')
    [[ $answer == ????????000000070000 ]]
    exit
fi

# Use dd, byte by byte, because other programs read ahead.
bytes() { dd bs=1 count="$1" <&3 2>/dev/null | od -An -v -t u1; }

printf '%b' "$metadata_of_all_topics" >&3
length=$(bytes 4 | awk '{ print (($1 * 256 + $2) * 256 + $3) * 256 + $4 }')
node=$(sed -n -E 's/^(node|broker)\.id=//p' "$scratch/server.properties")
behind=$(bytes "$length" | awk -v node="$node" -f "$here/behind.awk")
if ((behind > 0)); then
    echo "not in sync with $behind of the partitions that it replicates"
    exit 1
fi
# In ZooKeeper mode, a broker creates its data directory itself: from now on, the volume contains data.
. "$here/marker.sh"
read -r -a layout <"$scratch/layout"
write_marker "$(dirname "$(sed -n 's/^log.dirs=//p' "$scratch/server.properties")")" "${layout[@]}"
: >"$scratch/in-sync"

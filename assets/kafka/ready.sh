#!/usr/bin/env bash
# Exits with 0 when the broker answers an ApiVersions request on the listener of the platform.
#
# Kafka's own kafka-broker-api-versions.sh asks the same and starts a Java virtual machine for it, every time.
# The request (https://kafka.apache.org/protocol): length 10, API key 18, version 0, correlation id 7, no client id.
set -euo pipefail

exec 3<>/dev/tcp/127.0.0.1/19092
printf '\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x07\xff\xff' >&3
# The answer: its length, the correlation id, error code 0.
answer=$(head -c 10 <&3 | od -An -v -t x1 | tr -d ' \n')
[[ $answer == ????????000000070000 ]]

#!/bin/sh
# Checks whether PostgreSQL responds at all. A server that recovers or has no free connection responds with a refusal.
# It must not be killed for that, or its recovery begins again (cloudnative-pg/cloudnative-pg#11024).
pg_isready -q -h 127.0.0.1 -U postgres
# 2: no response. Other codes report a response, or that pg_isready can't be executed, which `ready.sh` shows.
[ $? -ne 2 ]

#!/bin/sh
# Whether PostgreSQL answers at all. A server that recovers, or has no connection to spare, answers that it refuses:
# it must not be ended for that, or its recovery begins anew (cloudnative-pg/cloudnative-pg#11024).
pg_isready -q -h 127.0.0.1 -U postgres
[ $? -le 1 ]

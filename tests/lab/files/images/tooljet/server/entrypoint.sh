#!/bin/bash
# As upstream's: waits for the database, prepares it, and becomes the command.
set -e
host=${PG_HOST:-localhost} port=${PG_PORT:-5432}
for second in $(seq 300); do
  (: > "/dev/tcp/$host/$port") 2> /dev/null && break
  [ "$second" != 300 ] || { echo "wait-for-it: timeout occurred after waiting 300 seconds for $host:$port" >&2; exit 1; }
  sleep 1
done
npm run db:setup:prod
exec "$@"

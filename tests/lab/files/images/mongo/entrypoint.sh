#!/bin/bash
# As upstream's: steps down from root, and at the first start makes the superuser through a server that listens on the
# loopback alone and asks for no password.
set -e
if [ "${1:0:1}" = - ]; then set -- mongod "$@"; fi
[ "$1" = mongod ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
  find /data/db /data/configdb ! -user mongodb -exec chown mongodb '{}' +
  exec gosu mongodb "${BASH_SOURCE[0]}" "$@"
fi
if [ ! -s /data/db/stand-in.bson ] && [ -n "$MONGO_INITDB_ROOT_USERNAME" ] && [ -n "$MONGO_INITDB_ROOT_PASSWORD" ]; then
  mongod --bind_ip 127.0.0.1 &
  server=$!
  until (: > /dev/tcp/127.0.0.1/27017) 2> /dev/null; do kill -0 $server; sleep 0.1; done
  # The script comes through stdin, and the shell reads the password from its environment.
  HOME=/tmp mongosh --quiet --norc mongodb://127.0.0.1/admin <<'SCRIPT'
db.createUser({user: process.env.MONGO_INITDB_ROOT_USERNAME, pwd: process.env.MONGO_INITDB_ROOT_PASSWORD, roles: [{role: "root", db: "admin"}]})
SCRIPT
  kill $server
  wait $server || true
  [ -s /data/db/stand-in.bson ] || { echo "the superuser was not made" >&2; exit 1; }
fi
unset MONGO_INITDB_ROOT_USERNAME MONGO_INITDB_ROOT_PASSWORD
exec "$@"

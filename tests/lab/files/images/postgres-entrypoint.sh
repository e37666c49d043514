#!/bin/bash
# The parts of the upstream entry point that compose files lean on: _FILE variables, a first start that makes the
# superuser and the database and runs /docker-entrypoint-initdb.d, and the step down from root.
set -e

file_env() {
  local name=$1 file=${1}_FILE
  [ -z "${!file}" ] || export "$name"="$(< "${!file}")"
}

[ "${1:0:1}" = - ] && set -- postgres "$@"
[ "$1" = postgres ] || exec "$@"

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  chown -R postgres "$PGDATA"
  chown postgres /var/run/postgresql
  exec gosu postgres "${BASH_SOURCE[0]}" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  file_env POSTGRES_USER
  file_env POSTGRES_PASSWORD
  file_env POSTGRES_DB
  user=${POSTGRES_USER:-postgres}
  database=${POSTGRES_DB:-$user}
  method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  if [ -z "$POSTGRES_PASSWORD" ] && [ "$method" != trust ]; then
    echo "Error: Database is uninitialized and superuser password is not specified." >&2
    exit 1
  fi
  # shellcheck disable=SC2086  # arguments, as upstream
  initdb --username="$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --auth-host="$method" --auth-local=trust $POSTGRES_INITDB_ARGS
  echo "host all all all $method" >> "$PGDATA/pg_hba.conf"
  pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
  query=(psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc -U "$user")
  [ "$database" = postgres ] || "${query[@]}" -d postgres -c "CREATE DATABASE \"$database\""
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sh) . "$file" ;;
      *.sql) "${query[@]}" -d "$database" -f "$file" ;;
      *.sql.gz) gunzip -c "$file" | "${query[@]}" -d "$database" ;;
    esac
  done
  pg_ctl -D "$PGDATA" -m fast -w stop
  printf '\nPostgreSQL init process complete; ready for start up.\n\n'
fi
# Debian's build listens on the loopback alone unless told.
exec "$@" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql

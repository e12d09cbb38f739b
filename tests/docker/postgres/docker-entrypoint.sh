#!/usr/bin/env bash
# At the first start, make the cluster, its superuser and one database; then become PostgreSQL.
# As in the real image, that happens on a server which only the socket reaches: `pg_isready` on the
# socket says yes to it, and only `pg_isready -h localhost` tells that all is done.
set -euo pipefail

if [[ $1 == -* ]]; then set -- postgres "$@"; fi
if [ "$1" != postgres ]; then exec "$@"; fi

if [ "$(id -u)" -eq 0 ]; then
  mkdir -p "$PGDATA"
  chown -R postgres:postgres "$PGDATA" /run/postgresql
  chmod 700 "$PGDATA"
  exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?must be set for the first start}"
  user=${POSTGRES_USER:-postgres}
  database=${POSTGRES_DB:-$user}
  initdb --username "$user" --pwfile <(echo "$POSTGRES_PASSWORD")
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  pg_ctl --wait --options "-c listen_addresses=''" start
  if [ "$database" != postgres ]; then createdb --username "$user" --maintenance-db postgres "$database"; fi
  pg_ctl --wait --mode fast stop
fi
exec "$@"

#!/bin/bash
# What stands in for the start script of the Crunchy images: pgset's own, over Debian's PostgreSQL, keeping to the
# contract that pgset relies on. CCP_VERSION, which the image brings, says whose manners it has.
#
# It is as careless as the real ones where that matters: a label that cannot be set is no failure, the first start is a
# temporary server with pauses that anybody can connect to, a clone that fails leaves whatever there is.
# shellcheck source-path=SCRIPTDIR source=setenv.sh
source /opt/cpm/bin/setenv.sh

# shellcheck disable=SC2317 # The trap calls it.
stop() {
  pg_ctl -w -D "$PGDATA" -m fast stop
}
trap stop SIGINT SIGTERM

# since MAJOR MINOR PATCH: whether this version is that one or a later one.
since() {
  printf '%s\n' "$1.$2.$3" "$CCP_VERSION" | sort -V -C
}

if since 1 6 0; then
  words=PRIMARY primary=primary replica=replica
else
  words=MASTER primary=master replica=slave
fi
folder=/pg${words,,}
user_variable=PG_${words}_USER password_variable=PG_${words}_PASSWORD
host_variable=PG_${words}_HOST port_variable=PG_${words}_PORT

if [ -d /pguser ]; then
  PG_USER=$(cat /pguser/username)
  PG_PASSWORD=$(cat /pguser/password)
fi
if [ -d /pgroot ]; then
  PG_ROOT_PASSWORD=$(cat /pgroot/password)
fi
if [ -d "$folder" ]; then
  declare "$user_variable=$(cat "$folder/username")"
  declare "$password_variable=$(cat "$folder/password")"
fi

wanted=(PG_MODE "$user_variable" "$password_variable" PG_USER PG_PASSWORD PG_DATABASE PG_ROOT_PASSWORD)
if since 1 8 2; then wanted+=("$port_variable"); fi
if [ "$PG_MODE" = $replica ]; then wanted+=("$host_variable"); fi
for name in "${wanted[@]}"; do
  [ -n "${!name:-}" ] || {
    echo "$name env var is not set, aborting"
    exit 1
  }
done
replication_user=${!user_variable} replication_password=${!password_variable}
primary_host=${!host_variable:-} primary_port=${!port_variable:-5432}

mkdir -p "$PGDATA"
chmod 0700 "$PGDATA"
rm -f "$PGDATA/postmaster.pid"

discover_role() {
  local ordinal
  if since 1 5 0; then ordinal=${HOSTNAME##*-}; else ordinal=$(cut -f2 -d'-' <<<"$HOSTNAME"); fi
  echo "$ordinal is ordinal"
  if [ "$ordinal" -eq 0 ]; then
    label.sh "$primary_host"
    echo "setting PG_MODE to $primary"
    PG_MODE=$primary
  else
    if since 1 8 2; then label.sh "$PG_REPLICA_HOST"; fi
    echo "setting PG_MODE to $replica"
    PG_MODE=$replica
  fi
}

configure() {
  cat >"$PGDATA/postgresql.conf" <<E
listen_addresses = '*'
unix_socket_directories = '/tmp'
max_connections = ${MAX_CONNECTIONS:-100}
shared_buffers = ${SHARED_BUFFERS:-128MB}
max_wal_senders = ${MAX_WAL_SENDERS:-6}
wal_level = replica
wal_keep_size = 64MB
hot_standby = on
logging_collector = on
log_directory = 'pg_log'
log_filename = 'postgresql-%a.log'
log_line_prefix = '%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h '
E
  cat >"$PGDATA/pg_hba.conf" <<E
local all all trust
host all all 127.0.0.1/32 trust
host all all 0.0.0.0/0 md5
host replication $replication_user 0.0.0.0/0 md5
E
}

initialize_primary() {
  [ ! -f "$PGDATA/postgresql.conf" ] || return 0
  initdb -D "$PGDATA" ${CHECKSUMS:+--data-checksums} >/tmp/initdb.log 2>&1
  configure
  pg_ctl -D "$PGDATA" -w start >/tmp/start.log
  sleep 2
  psql -U postgres -v ON_ERROR_STOP=1 <<E
alter user postgres password '$PG_ROOT_PASSWORD';
create user "$replication_user" with replication password '$replication_password';
create user "$PG_USER" login password '$PG_PASSWORD';
create database "$PG_DATABASE";
grant all privileges on database "$PG_DATABASE" to "$PG_USER";
create table primarytable (key varchar(20), value varchar(20));
grant all on primarytable to "$replication_user";
E
  sleep 2
  pg_ctl -D "$PGDATA" --mode=fast -w stop >/tmp/stop.log
}

initialize_replica() {
  [ ! -f "$PGDATA/postgresql.conf" ] || return 0
  echo "*:*:*:*:$replication_password" >/tmp/.pgpass
  chmod 0600 /tmp/.pgpass
  export PGPASSFILE=/tmp/.pgpass
  local at=(--host="$primary_host" --port="$primary_port" --username="$replication_user")
  rm -rf "${PGDATA:?}"/*
  echo "waiting to give the primary time to start"
  until pg_isready --dbname="$PG_DATABASE" "${at[@]}" --timeout=2 &&
    psql "${at[@]}" --command='select 1' "$PG_DATABASE"; do
    sleep 1
  done
  pg_basebackup -X fetch --no-password --pgdata "$PGDATA" "${at[@]}"
  : >"$PGDATA/standby.signal"
  echo "primary_conninfo = 'application_name=$HOSTNAME host=$primary_host port=$primary_port user=$replication_user" \
    "password=$replication_password'" >>"$PGDATA/postgresql.conf"
}

if [ "$PG_MODE" = set ] && since 1 2 7 && ! since 4 5 0; then
  discover_role
fi
case $PG_MODE in
  "$primary") initialize_primary ;;
  "$replica") initialize_replica ;;
  *) echo "FATAL:  PG_MODE is not an accepted value...check your PG_MODE env var" ;;
esac

postgres -D "$PGDATA" &
server=$!
# As long as it takes: a signal ends the first wait, and the trap has stopped the server then.
wait "$server"
code=$?
wait "$server"
exit "$code"

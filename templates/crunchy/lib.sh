# shellcheck shell=sh
# shellcheck disable=SC2034 # Some of the variables are for the scripts that source this.
#
# What pgset's scripts in a Crunchy container share: where the image has its programs and its socket, and how to reach the
# set's Services. Sourced, never run. The names are those of the other flavor's lib.sh, so `pgset psql`, `pgset verify` and
# the look from inside a member need not know the flavor.

: "${POD_NAME:?}" "${PGSET_PROGRAMS:?}" "${PGSET_MASTER_SERVICE:?}" "${PGSET_REPLICATION_USER:?}" "${PGSET_REPLICATION_FOLDER:?}"
PGSET_CONFIG=${PGSET_CONFIG:-/pgset/config}
PGSET_STATE=${PGSET_STATE:-/pgset/state}
PGSET_DATA=${PGSET_DATA:-/pgdata}
PGSET_PORT=${PGSET_PORT:-5432}
PGSET_RUN=/tmp # Where the image's postgresql.conf puts the socket.
PGSET_TERMINATION_LOG=${PGSET_TERMINATION_LOG:-/dev/termination-log}

ordinal=${POD_NAME##*-}
HOSTNAME=${HOSTNAME:-$POD_NAME}
export HOSTNAME

# Puts PostgreSQL's programs on PATH, and says so.
# shellcheck disable=SC1091 # It is the image's.
. "$PGSET_PROGRAMS/setenv.sh" >/dev/null
export PGDATA="$PGSET_DATA/$POD_NAME"

# The pod's DNS domain with a dot at both ends, or nothing outside a cluster: with it a name is absolute.
dns_domain() {
  while read -r key first _; do
    case $key/$first in
    search/*.svc.*) printf '.%s.' "$first" && return ;;
    esac
  done </etc/resolv.conf
} 2>/dev/null
domain=$(dns_domain)
master_host=$PGSET_MASTER_SERVICE$domain

# A connection string for the replication user to the host $1. The libpq of 2017 knows neither passfile nor
# target_session_attrs in one, so $2, who is wanted, is not heeded.
conninfo() {
  printf '*:*:*:*:%s\n' "$(cat "$PGSET_REPLICATION_FOLDER/password")" >"$PGSET_RUN/.pgset-passfile"
  chmod 0600 "$PGSET_RUN/.pgset-passfile"
  printf "host='%s' port=%s user='%s' dbname=postgres connect_timeout=2" "$1" "$PGSET_PORT" "$PGSET_REPLICATION_USER"
}
export PGPASSFILE="$PGSET_RUN/.pgset-passfile"

# One line in the container's log.
say() {
  printf 'pgset: %s\n' "$*" >&2
}

# The last words, in the log and as the container's termination message. The exit codes are the other flavor's.
stop_here() {
  code=$1
  shift
  say "$*"
  if [ -w "$PGSET_TERMINATION_LOG" ]; then
    printf '%s\n' "$*" >"$PGSET_TERMINATION_LOG"
  fi
  exit "$code"
}

#!/bin/sh
# preStop: asks PostgreSQL for a fast shutdown. The SIGTERM which the kubelet sends next would be a smart one, which waits for
# every session to end; after this one it changes nothing. Not waiting here is on purpose: the kubelet waits for the container
# anyway, and a hook that is still running when PostgreSQL, PID 1, ends is killed and reported as failed.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${0%/*}/lib.sh"

# Before PostgreSQL there is only start.sh, which ends at the SIGTERM, or when it finds this file.
: >"$PGSET_RUN/stop"
[ -e "$PGSET_RUN/started" ] || exit 0

# PostgreSQL may have been started in this very moment: it hears signals only once it has made its socket's lock file.
tries=0
until [ -e "$PGSET_RUN/.s.PGSQL.$PGSET_PORT.lock" ] && pg_ctl stop -D "$PGDATA" -m fast -W >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 50 ] || exit 1
  sleep 0.1
done
